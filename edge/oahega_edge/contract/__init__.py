"""What is published: events, messages, topics, and the schemas made from them."""
