"""Token Status Lists: those that are published, and those of other issuers that are held (draft-ietf-oauth-status-list)."""
