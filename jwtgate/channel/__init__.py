"""What passes between a server and the application behind the gate, as long as it passes."""
