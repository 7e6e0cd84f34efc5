"""One token: parsed, verified against the policy of its issuer, shown to the application, and made."""
