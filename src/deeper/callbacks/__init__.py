"""What happens beside the training step: checkpoints, averages, meters, what a person sees."""
