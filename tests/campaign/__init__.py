"""`make campaign`: the whole suite under clocks that are ahead and on a busy machine, then every fault campaign."""
