"""What the scoring client is made of: batches, connections, patience, work side by side, answers that are checked."""
