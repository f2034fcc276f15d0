"""How good the engines are: ground truth made at run time, the field's metrics, and reports."""
