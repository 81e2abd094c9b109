"""Who may see which execution, and how much at once: tokens, tickets, ownership, limits."""
