package wechat

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The events of subscription messages, and those that tell of a user's rights.
const (
	EventSubscribePopup  = "subscribe_msg_popup_event"  // the user answered the dialog
	EventSubscribeChange = "subscribe_msg_change_event" // the user managed it on a card; only refusals are pushed
	EventSubscribeSent   = "subscribe_msg_sent_event"   // what became of a send

	EventAuthorizationRevoke       = "user_authorization_revoke"       // 用户撤回授权
	EventAuthorizationCancellation = "user_authorization_cancellation" // 用户注销
	EventUserInfoModified          = "user_info_modified"              // 资料变更
)

// eventWrappers are the elements around the items of an event in XML. JSON has
// none, but for early copies of WeChat's page, which had one in place of List.
var eventWrappers = map[string]string{
	EventSubscribePopup:  "SubscribeMsgPopupEvent",
	EventSubscribeChange: "SubscribeMsgChangeEvent",
	EventSubscribeSent:   "SubscribeMsgSentEvent",
}

// Callback is a push that was verified.
type Callback struct {
	// Encrypted says that msg_signature and the key vouch for all of it. False:
	// the push came in plain mode, where nothing vouches for the body.
	Encrypted bool
	// PreviousKey says that it was PreviousAESKey that fitted.
	PreviousKey bool
	// Format is that of Raw.
	Format CallbackFormat
	// Raw is the clear message as it came. Of an event that is not known here it
	// is all there is besides the common fields.
	Raw []byte

	ToUserName string // the mini program's original id (gh_…)
	// FromUserName is the openid, except in the events user_….
	FromUserName string
	// CreateTime has a resolution of a second, and is zero if it is absent.
	CreateTime time.Time
	MsgType    string // "event", or the kind of a message
	Event      string
	MsgID      string // of messages; an event has none

	// Items are those of a subscription event, in its order.
	Items []CallbackItem

	// OpenID is the user of the events user_authorization_revoke,
	// user_authorization_cancellation and user_info_modified, AppID the mini
	// program, RevokeInfo the code of what was revoked.
	OpenID, AppID, RevokeInfo string
}

// CallbackItem is one template of a subscription event. What an event does not
// have is empty; all is as it came, numbers too.
type CallbackItem struct {
	TemplateID string
	Status     string // SubscribeStatusString: accept or reject
	PopupScene string // 0 in a page of the mini program
	// MsgID is that of the send's answer.
	MsgID string
	// ErrorCode is "0" when it was delivered. No other values are documented, and
	// none of ErrorStatus but "success".
	ErrorCode, ErrorStatus string
}

// Bounds of a message: WeChat's are two levels deep and have tens of fields.
const (
	maxFieldDepth = 16
	maxFields     = 10_000
)

// field is a named value of a message: a text, or fields. JSON and XML both
// become fields, which makes one reader of two; the entries of a JSON array are
// fields of one name, as XML has them.
type field struct {
	name string
	text string
	sub  []field
}

// fieldSet are the fields of a message. err says that one of those asked for is
// not what it should be.
type fieldSet struct {
	format CallbackFormat
	fields []field
	err    error
}

func (m *fieldSet) has(name string) bool {
	for i := range m.fields {
		if m.fields[i].name == name {
			return true
		}
	}
	return false
}

// text is the text of a field, or "". A field that is there twice is an error:
// whoever checks could read the one, and whoever believes the other.
func (m *fieldSet) text(name string) string {
	found, text := false, ""
	for i := range m.fields {
		f := &m.fields[i]
		if f.name != name {
			continue
		}
		if found || f.sub != nil {
			m.err = refuseCallback(CallbackBadBody, name+" is there twice, or is no text")
			return ""
		}
		found, text = true, f.text
	}
	return text
}

// time is a field of Unix seconds; absent is the zero time.
func (m *fieldSet) time(name string) time.Time {
	const year10000 = 253402300800 // neither JSON nor databases take it
	text := strings.TrimSpace(m.text(name))
	if text == "" {
		return time.Time{}
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 || seconds >= year10000 {
		m.err = refuseCallback(CallbackBadBody, name+" is not Unix seconds")
	}
	return time.Unix(seconds, 0).UTC()
}

// readCallback picks what is known out of a message.
func readCallback(m *fieldSet, raw []byte) (*Callback, error) {
	c := &Callback{
		Format: m.format, Raw: raw,
		ToUserName: m.text("ToUserName"), FromUserName: m.text("FromUserName"), CreateTime: m.time("CreateTime"),
		MsgType: m.text("MsgType"), Event: m.text("Event"), MsgID: m.text("MsgId"),
	}
	if m.err != nil {
		return nil, m.err
	}
	switch c.Event {
	case EventSubscribePopup, EventSubscribeChange, EventSubscribeSent:
		for _, list := range m.items(eventWrappers[c.Event]) {
			c.Items = append(c.Items, readItem(list))
			if list.err != nil {
				return nil, list.err
			}
		}
	case EventAuthorizationRevoke, EventAuthorizationCancellation, EventUserInfoModified:
		c.OpenID, c.AppID, c.RevokeInfo = m.text("OpenID"), m.text("AppID"), m.text("RevokeInfo")
	}
	if m.err != nil {
		return nil, m.err
	}
	return c, nil
}

// items finds the items of a subscription event, in List or in its wrapper.
func (m *fieldSet) items(wrapper string) []*fieldSet {
	var list []*fieldSet
	for i := range m.fields {
		f := &m.fields[i]
		inner := &fieldSet{fields: f.sub}
		switch {
		case len(f.sub) == 0: // an empty wrapper
		case f.name == "List" || f.name == wrapper && !inner.has("List"):
			list = append(list, inner)
		case f.name == wrapper:
			list = append(list, inner.items("")...)
		}
	}
	return list
}

func readItem(m *fieldSet) CallbackItem {
	return CallbackItem{
		TemplateID: m.text("TemplateId"), Status: m.text("SubscribeStatusString"), PopupScene: m.text("PopupScene"),
		MsgID: m.text("MsgID"), ErrorCode: m.text("ErrorCode"), ErrorStatus: m.text("ErrorStatus"),
	}
}

// parseFields reads one JSON object or <xml> element. The first byte decides
// which: what header WeChat sends with either is on no page.
func parseFields(msg []byte) (*fieldSet, error) {
	if !utf8.Valid(msg) {
		return nil, refuseCallback(CallbackBadBody, "the message is not UTF-8")
	}
	var p fieldParser
	m := &fieldSet{}
	var err error
	switch head := bytes.TrimLeft(msg, " \t\r\n"); {
	case bytes.HasPrefix(head, []byte("<")):
		m.format = CallbackXML
		m.fields, err = p.xmlDocument(xml.NewDecoder(bytes.NewReader(msg)))
	case bytes.HasPrefix(head, []byte("{")) && json.Valid(msg):
		m.format = CallbackJSON
		p.json = json.NewDecoder(bytes.NewReader(msg))
		p.json.UseNumber() // a msgid passes 2^53
		var list []field
		if list, err = p.jsonValue("", 0); err == nil {
			m.fields = list[0].sub
		}
	default:
		err = errMessage
	}
	if err != nil {
		// A cause of the parsers is not passed on: it may quote the message.
		if refusal := new(CallbackError); !errors.As(err, &refusal) {
			err = errMessage
		}
		return nil, err
	}
	return m, nil
}

var (
	errMessage  = refuseCallback(CallbackBadBody, "the message is neither one JSON object nor one <xml> element")
	errOversize = refuseCallback(CallbackBadBody, "the message is nested too deep or has too many fields")
)

// fieldParser reads fields and counts them.
type fieldParser struct {
	json *json.Decoder
	xml  *xml.Decoder
	n    int
}

// room counts a field, and refuses one too many or too deep.
func (p *fieldParser) room(depth int) error {
	if p.n++; p.n > maxFields || depth > maxFieldDepth {
		return errOversize
	}
	return nil
}

// jsonValue reads a value, which makes one field of this name or, if it is an
// array, one for each entry.
func (p *fieldParser) jsonValue(name string, depth int) ([]field, error) {
	if err := p.room(depth); err != nil {
		return nil, err
	}
	token, err := p.json.Token()
	if err != nil {
		return nil, err
	}
	f := field{name: name}
	switch v := token.(type) {
	case json.Delim:
		return p.jsonFields(f, v == '[', depth)
	case string:
		if strings.IndexByte(v, 0) >= 0 {
			return nil, refuseCallback(CallbackBadBody, "the message has a NUL character")
		}
		f.text = v
	case json.Number:
		f.text = v.String()
	case bool:
		f.text = strconv.FormatBool(v)
	}
	return []field{f}, nil
}

// jsonFields reads what is in an object or array.
func (p *fieldParser) jsonFields(f field, array bool, depth int) ([]field, error) {
	f.sub = []field{}
	for p.json.More() {
		name := f.name
		if !array {
			token, err := p.json.Token()
			if err != nil {
				return nil, err
			}
			name, _ = token.(string)
		}
		list, err := p.jsonValue(name, depth+1)
		if err != nil {
			return nil, err
		}
		f.sub = append(f.sub, list...)
	}
	if _, err := p.json.Token(); err != nil { // the end
		return nil, err
	}
	if array {
		return f.sub, nil
	}
	return []field{f}, nil
}

// xmlDocument reads <xml>…</xml> and makes sure that nothing is around it.
// Entities beyond the five of XML are errors of the decoder.
func (p *fieldParser) xmlDocument(d *xml.Decoder) ([]field, error) {
	p.xml = d
	var root *field
	for {
		token, err := p.xmlToken()
		switch {
		case errors.Is(err, io.EOF) && root != nil:
			return root.sub, nil
		case err != nil:
			return nil, err
		}
		switch v := token.(type) {
		case xml.StartElement:
			if root != nil || v.Name.Local != "xml" || v.Name.Space != "" {
				return nil, errMessage
			}
			root = &field{}
			if err := p.xmlElement(root, 0); err != nil {
				return nil, err
			}
			if root.sub == nil && strings.TrimSpace(root.text) != "" {
				return nil, errMessage
			}
		case xml.CharData:
			if len(bytes.TrimSpace(v)) > 0 {
				return nil, errMessage
			}
		}
	}
}

// xmlElement reads what is in an element up to its end. Text beside elements is
// white space or means nothing.
func (p *fieldParser) xmlElement(f *field, depth int) error {
	if err := p.room(depth); err != nil {
		return err
	}
	var text []byte
	for {
		token, err := p.xmlToken()
		if err != nil {
			return err
		}
		switch v := token.(type) {
		case xml.StartElement:
			sub := field{name: v.Name.Local}
			if v.Name.Space != "" { // not WeChat's, so none that is known
				sub.name = v.Name.Space + ":" + v.Name.Local
			}
			if err := p.xmlElement(&sub, depth+1); err != nil {
				return err
			}
			f.sub = append(f.sub, sub)
		case xml.EndElement:
			f.text = string(text)
			return nil
		case xml.CharData:
			text = append(text, v...)
		}
	}
}

// xmlToken is the next token, none of which is a directive: a DTD can make a
// short message grow without limit, or read files.
func (p *fieldParser) xmlToken() (xml.Token, error) {
	token, err := p.xml.Token()
	if err != nil {
		return nil, err
	}
	switch v := token.(type) {
	case xml.Directive:
		return nil, refuseCallback(CallbackDTD, "XML with a document type or another directive is not taken")
	case xml.ProcInst:
		if v.Target != "xml" {
			return nil, errMessage
		}
	}
	return token, nil
}
