"""The server below the routes: connections, bodies, responses, refusals."""
