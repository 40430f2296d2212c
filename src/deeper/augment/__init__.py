"""What happens to a training picture, one transform after the other, under its sample's own seed."""
