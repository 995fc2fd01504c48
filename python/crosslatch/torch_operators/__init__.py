"""What PyTorch has to know about the two operators; `crosslatch.ops` puts it together."""
