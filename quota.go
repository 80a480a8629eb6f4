package hongyan

import "time"

// Quota is how much of one of WeChat's APIs an app may use. What WeChat does not tell for
// the path is absent.
type Quota struct {
	CGIPath   string      `json:"cgi_path"`
	Daily     *DailyQuota `json:"daily,omitempty" doc:"Calls of the day; it begins anew at midnight in Beijing."`
	RateLimit *RateLimit  `json:"rate_limit,omitempty" doc:"Calls within a shorter time."`
}

// DailyQuota are an API's calls of one day.
type DailyQuota struct {
	Limit  int `json:"limit"`
	Used   int `json:"used"`
	Remain int `json:"remain"`
}

// RateLimit allows Calls in Seconds.
type RateLimit struct {
	Calls   int `json:"calls"`
	Seconds int `json:"seconds"`
}

// QuotaCleared says what was set back to nothing.
type QuotaCleared struct {
	CGIPath string `json:"cgi_path,omitempty" doc:"Absent: the quotas of all APIs."`
	// BySecret: the AppSecret was shown, because there was no access token to be had.
	BySecret bool `json:"by_secret,omitempty" doc:"The AppSecret was used, because no access token could be had."`
	// Resumed are the pauses for a spent quota that ended with it.
	Resumed []Pause `json:"resumed" doc:"The pauses for a spent quota that have ended with it."`
}

// CallInfo is one call of the last 7 days as WeChat saw it. Credentials are cut from it;
// what the call was about, an openid or a message's data, is not.
type CallInfo struct {
	Rid       string    `json:"rid"`
	InvokedAt time.Time `json:"invoked_at"`
	CostMS    int64     `json:"cost_ms"`
	// RequestURL is the query of the call.
	RequestURL   string `json:"request_url" doc:"The query of the call."`
	RequestBody  string `json:"request_body"`
	ResponseBody string `json:"response_body"`
	ClientIP     string `json:"client_ip" doc:"The address that WeChat saw the call come from."`
}

// CallbackReach is how WeChat reaches the host of the app's push URL.
type CallbackReach struct {
	DNS  []ResolvedHost `json:"dns"`
	Ping []PingedHost   `json:"ping"`
}

// ResolvedHost is an address that the host's name has, and whose network it is in.
type ResolvedHost struct {
	IP       string `json:"ip"`
	Operator string `json:"operator"`
}

// PingedHost is one address, pinged by WeChat.
type PingedHost struct {
	IP          string `json:"ip"`
	From        string `json:"from" doc:"From whose network it was pinged."`
	PackageLoss string `json:"package_loss" doc:"Such as 0%."`
	Time        string `json:"time" doc:"Such as 23.079ms."`
}
