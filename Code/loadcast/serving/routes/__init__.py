"""What the service answers, route by route; each function takes the service and the request, and gives the reply."""
