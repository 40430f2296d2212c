"""From a shell to `main(cfg)` and back: arguments, help, error messages, exit codes."""
