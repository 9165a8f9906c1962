"""Names that some programs look for under `onnxruntime.capi`: functions that they call there, and the errors that they catch."""
