package cli

// chinese has our own sentences by their English form. A test finds what is missing.
var chinese = map[string]string{}
