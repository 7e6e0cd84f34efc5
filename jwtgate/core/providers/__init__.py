"""What identity providers tell: logout tokens, security events, and the sessions of ours that hang on theirs."""
