"""What fold models predict for cases that they have not seen: ranges of volume and Dice."""
