"""What lacunet is used for: masks, estimates and the demonstration, with their files and pages."""
