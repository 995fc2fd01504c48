"""placeholder"""
def watch(): pass
