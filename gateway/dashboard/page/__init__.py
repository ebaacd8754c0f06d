"""What every view has: the frame around it, who looks, which days, charts, numbers as people read them."""
