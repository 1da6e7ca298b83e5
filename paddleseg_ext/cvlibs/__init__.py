"""Reading, checking and building what a PaddleSeg yaml describes."""
