"""What passes between an ASGI server and the application behind the gate."""
