"""What PyTorch must know about the two operators; `crosslatch.ops` registers it."""
