"""What a feature responds to: profiles, the published rules of specialization, and rules with their evidence."""
