"""Dead letters as people work on them: every pitfall is a test."""
