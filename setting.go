package hongyan

// Setting is one setting of the server as it is in force. Values never hold a secret: of those
// that are one it is only said that they are set, and passwords are cut out of URLs.
type Setting struct {
	Key    string `json:"key" doc:"In the YAML file; of a secret, which has none there, its environment variable."`
	Value  string `json:"value" doc:"In force. redacted: it is a secret, and set."`
	Origin string `json:"origin" doc:"Where the value came from: default, flag, the environment variable, file:line, or program: whoever started the server chose it, as demo does."`
	Env    string `json:"env" doc:"The environment variable that sets it."`
	Help   string `json:"help" doc:"What it means, in the language of Accept-Language."`
}
