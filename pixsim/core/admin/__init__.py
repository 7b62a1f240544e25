"""What the admin pages of all apps share: lists of large tables, and small drawings."""
