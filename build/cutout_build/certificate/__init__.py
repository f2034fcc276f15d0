"""`make engines`: every precision of every engine measured against fp32 and against ground truth, and judged."""
