"""What fold models say of cases that they have not seen: ranges of volume and Dice."""
