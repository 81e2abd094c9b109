"""Who may see which execution: tokens and the policy about them. Knows no HTTP."""
