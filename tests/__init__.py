"""The tests mirror the package; golden/, vectors/, faults/, bench/, project/ and demo/ stand beside the mirror."""
