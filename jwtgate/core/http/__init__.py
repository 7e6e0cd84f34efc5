"""What HTTP itself has to say about a request: where its token is, what needs none, whose page sent it, how it is refused."""
