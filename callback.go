package hongyan

import (
	"fmt"
	"net/url"
	"time"
)

// Callback is one push of WeChat's (消息推送) as it was recorded, with what became of it.
type Callback struct {
	ID  CallbackID `json:"id"`
	App AppID      `json:"app"`
	// Event is WeChat's Event, or its MsgType where it is no event.
	Event  string `json:"event"`
	OpenID OpenID `json:"openid,omitempty" doc:"Whom it is about."`
	// Encrypted says that WeChat's key vouches for all of it; nothing vouches for the body of a plain one.
	Encrypted bool           `json:"encrypted"`
	Items     []CallbackItem `json:"items,omitempty" doc:"Of a subscription event: its templates."`
	Raw       string         `json:"raw,omitempty" doc:"The clear message as it came; only where one is asked for."`
	// Status is pending until it was applied, then done.
	Status CallbackStatus `json:"status" enum:"pending,done"`
	// Notes say what it changed, or why it changed nothing, one for each item.
	Notes       []string  `json:"notes,omitempty"`
	SentAt      time.Time `json:"sent_at,omitzero" doc:"WeChat's CreateTime."`
	ReceivedAt  time.Time `json:"received_at"`
	ProcessedAt time.Time `json:"processed_at,omitzero"`
}

// CallbackItem is one template of a subscription event; what an event does not have is empty.
type CallbackItem struct {
	TemplateID  string `json:"template_id,omitempty"`
	Choice      string `json:"choice,omitempty" doc:"SubscribeStatusString: accept or reject."`
	MsgID       string `json:"msgid,omitempty"`
	ErrorCode   string `json:"error_code,omitempty"`
	ErrorStatus string `json:"error_status,omitempty"`
}

// CallbackStatus is how far a callback is.
type CallbackStatus string

// The statuses.
const (
	CallbackPending CallbackStatus = "pending"
	CallbackDone    CallbackStatus = "done"
)

// The events that the ledger acts on. Others are kept as they came.
const (
	CallbackPopup        = "subscribe_msg_popup_event"  // the user answered the dialog
	CallbackChange       = "subscribe_msg_change_event" // the user refused outside of it
	CallbackSent         = "subscribe_msg_sent_event"   // what became of a send
	CallbackCancellation = "user_authorization_cancellation"
)

// CallbackConfig is how an app receives WeChat's pushes. Its keys are shown once, when they
// are set, to be copied into 消息推送配置 of WeChat's console.
type CallbackConfig struct {
	// Path is what follows this server's public address in the URL of WeChat's console.
	Path           string `json:"path"`
	Token          string `json:"token,omitempty" doc:"Shown once."`
	EncodingAESKey string `json:"encoding_aes_key,omitempty" doc:"Shown once."`
	// Encrypted: an EncodingAESKey is set, and plain pushes are refused.
	Encrypted bool   `json:"encrypted"`
	ForwardTo string `json:"forward_to,omitempty"`
	// VerifiedAt is when WeChat's URL check last passed, LastAt when the last push was taken.
	VerifiedAt time.Time `json:"verified_at,omitzero" doc:"When WeChat's check of the URL last passed."`
	LastAt     time.Time `json:"last_at,omitzero" doc:"When the last push was taken."`
	// LastRejectedAt is when a call of the URL was last refused, LastRejection why.
	LastRejectedAt time.Time `json:"last_rejected_at,omitzero" doc:"When a call of the URL was last refused; one that is older than the last push or check is of the past."`
	LastRejection  string    `json:"last_rejection,omitempty" doc:"Why: its reason, as the list of rejections has it."`
	// PreviousUntil is until when the EncodingAESKey before this one still fits.
	PreviousUntil time.Time `json:"previous_until,omitzero"`
	UpdatedAt     time.Time `json:"updated_at,omitzero"`
}

// CallbackRejection is a call of the callback URL that was refused.
type CallbackRejection struct {
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
	Detail string    `json:"detail"`
	Remote string    `json:"remote,omitempty"`
}

// CheckForwardTo refuses what is no address to forward pushes to.
func CheckForwardTo(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" || len(s) > 1024 {
		return &Error{Code: CodeInvalid, Message: fmt.Sprintf("forward_to %q is not an http or https URL.", clip(s)),
			Fields: []FieldError{{Pointer: "/forward_to", Code: "url", Detail: "Give the old handler's URL, such as https://example.com/wx; without a user or fragment."}}}
	}
	return nil
}
