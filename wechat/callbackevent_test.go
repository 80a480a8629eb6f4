package wechat

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func openMessage(t testing.TB, msg string) (*Callback, error) {
	t.Helper()
	m, err := parseFields([]byte(msg))
	if err != nil {
		return nil, err
	}
	return readCallback(m, []byte(msg))
}

// The samples of WeChat's pages, in both forms.
func TestCallbackSamples(t *testing.T) {
	t.Parallel()
	const vrr, nine = "VRR0UEO9VJOLs0MHlU0OilqX6MVFDwH3_3gz3Oc0NIc", "9nLIlbOQZC5Y89AZteFEux3WCXRRRG5Wfzkpssu4bLI"
	event := func(format CallbackFormat, from, name string, at int64, items ...CallbackItem) Callback {
		return Callback{Format: format, ToUserName: "gh_123456789abc", FromUserName: from, CreateTime: time.Unix(at, 0).UTC(),
			MsgType: "event", Event: name, Items: items}
	}
	for file, want := range map[string]Callback{
		"popup.xml": event(CallbackXML, "otFpruAK8D-E6EfStSYonYSBZ8_4", EventSubscribePopup, 1610969440,
			CallbackItem{TemplateID: vrr, Status: "accept", PopupScene: "2"}, CallbackItem{TemplateID: nine, Status: "reject", PopupScene: "2"}),
		"popup.json": event(CallbackJSON, "o7esq5OI1Uej6Xixw1lA2H7XDVbc", EventSubscribePopup, 1620973045,
			CallbackItem{TemplateID: "hD-ixGOhYmUfjOnI8MCzQMPshzGVeux_2vzyvQu7O68", Status: "accept", PopupScene: "0"}),
		"change.xml": event(CallbackXML, "otFpruAK8D-E6EfStSYonYSBZ8_4", EventSubscribeChange, 1610969440, CallbackItem{TemplateID: vrr, Status: "reject"}),
		"change.json": event(CallbackJSON, "o7esq5OI1Uej6Xixw1lA2H7XDVbc", EventSubscribeChange, 1610968440,
			CallbackItem{TemplateID: "BEwX0BO-T3MqK3Uc5oTU3CGBqzjpndk2jzUf7VfExd8", Status: "reject"}),
		"sent.xml": event(CallbackXML, "otFpruAK8D-E6EfStSYonYSBZ8_4", EventSubscribeSent, 1610969468,
			CallbackItem{TemplateID: vrr, MsgID: "1700827132819554304", ErrorCode: "0", ErrorStatus: "success"}),
		"sent.json": event(CallbackJSON, "o7esq5PHRGBQYmeNyfG064wEFVpQ", EventSubscribeSent, 1620963428,
			CallbackItem{TemplateID: "BEwX0BO-T3MqK3Uc5oTU3CGBqzjpndk2jzUf7VfExd8", MsgID: "1864323726461255680", ErrorCode: "0", ErrorStatus: "success"}),
		"revoke.xml": {Format: CallbackXML, ToUserName: "gh_870882ca4b1", FromUserName: "owAqB1v0ahK_Xlc7GshIDdf2yf7E", CreateTime: time.Unix(1626857200, 0).UTC(),
			MsgType: "event", Event: EventAuthorizationRevoke, OpenID: "owAqB1nqaOYYWl0Ng484G2z5NIwU", AppID: "wx13974bf780d3dc89", RevokeInfo: "1"},
	} {
		msg := golden(t, "callback/"+file)
		want.Raw = []byte(msg)
		got, err := openMessage(t, msg)
		if err != nil {
			t.Errorf("%s: %v", file, err)
		} else if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
	}
}

// Every shape in which the same two items were seen or may come.
func TestCallbackItemShapes(t *testing.T) {
	t.Parallel()
	const (
		a  = `{"TemplateId":"T1","SubscribeStatusString":"reject"}`
		b  = `{"TemplateId":"T2","SubscribeStatusString":"accept"}`
		xa = "<TemplateId>T1</TemplateId><SubscribeStatusString>reject</SubscribeStatusString>"
		xb = "<TemplateId><![CDATA[T2]]></TemplateId><SubscribeStatusString><![CDATA[accept]]></SubscribeStatusString>"
	)
	one := []CallbackItem{{TemplateID: "T1", Status: "reject"}}
	two := append(one, CallbackItem{TemplateID: "T2", Status: "accept"})
	for name, tt := range map[string]struct {
		msg  string
		want []CallbackItem
	}{
		"JSON, object":                    {`{"Event":"subscribe_msg_change_event","List":` + a + `}`, one},
		"JSON, array of one":              {`{"Event":"subscribe_msg_change_event","List":[` + a + `]}`, one},
		"JSON, array":                     {`{"Event":"subscribe_msg_change_event","List":[` + a + `,` + b + `]}`, two},
		"JSON, empty array":               {`{"Event":"subscribe_msg_change_event","List":[]}`, nil},
		"JSON, no list":                   {`{"Event":"subscribe_msg_change_event"}`, nil},
		"JSON, null":                      {`{"Event":"subscribe_msg_change_event","List":null}`, nil},
		"JSON, wrapper in place of List":  {`{"Event":"subscribe_msg_change_event","SubscribeMsgChangeEvent":` + a + `}`, one},
		"JSON, wrapper with an array":     {`{"SubscribeMsgChangeEvent":[` + a + `,` + b + `],"Event":"subscribe_msg_change_event"}`, two},
		"JSON, wrapper around List":       {`{"Event":"subscribe_msg_change_event","SubscribeMsgChangeEvent":{"List":` + a + `}}`, one},
		"JSON, wrapper around an array":   {`{"Event":"subscribe_msg_change_event","SubscribeMsgChangeEvent":{"List":[` + a + `,` + b + `]}}`, two},
		"JSON, several wrappers":          {`{"Event":"subscribe_msg_change_event","SubscribeMsgChangeEvent":[{"List":` + a + `},{"List":` + b + `}]}`, two},
		"JSON, wrapper of another event":  {`{"Event":"subscribe_msg_change_event","SubscribeMsgSentEvent":` + a + `}`, nil},
		"XML, wrapper":                    {"<xml><Event>subscribe_msg_change_event</Event><SubscribeMsgChangeEvent><List>" + xa + "</List></SubscribeMsgChangeEvent></xml>", one},
		"XML, wrapper with several":       {"<xml><Event>subscribe_msg_change_event</Event><SubscribeMsgChangeEvent><List>" + xa + "</List>\n<List>" + xb + "</List></SubscribeMsgChangeEvent></xml>", two},
		"XML, without a wrapper":          {"<xml><Event>subscribe_msg_change_event</Event><List>" + xa + "</List><List>" + xb + "</List></xml>", two},
		"XML, wrapper in place of List":   {"<xml><Event>subscribe_msg_change_event</Event><SubscribeMsgChangeEvent>" + xa + "</SubscribeMsgChangeEvent></xml>", one},
		"XML, empty wrapper":              {"<xml><Event>subscribe_msg_change_event</Event><SubscribeMsgChangeEvent/></xml>", nil},
		"an event that is not known here": {`{"Event":"wxa_punish_event","List":` + a + `}`, nil},
	} {
		got, err := openMessage(t, tt.msg)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(tt.want, got.Items); diff != "" || string(got.Raw) != tt.msg {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// Numbers come as numbers or as strings, whatever they are.
func TestCallbackNumbers(t *testing.T) {
	t.Parallel()
	want := CallbackItem{TemplateID: "T", PopupScene: "2", MsgID: "9223372036854775807", ErrorCode: "-1", ErrorStatus: "system failed"}
	for _, msg := range []string{
		`{"CreateTime":1620963428,"Event":"subscribe_msg_sent_event","MsgId":9223372036854775807,"List":{"TemplateId":"T","PopupScene":2,"MsgID":9223372036854775807,"ErrorCode":-1,"ErrorStatus":"system failed"}}`,
		`{"CreateTime":"1620963428","Event":"subscribe_msg_sent_event","MsgId":"9223372036854775807","List":{"TemplateId":"T","PopupScene":"2","MsgID":"9223372036854775807","ErrorCode":"-1","ErrorStatus":"system failed"}}`,
		"<xml><CreateTime> 1620963428\n</CreateTime><Event>subscribe_msg_sent_event</Event><MsgId>9223372036854775807</MsgId><List><TemplateId>T</TemplateId><PopupScene>2</PopupScene><MsgID>9223372036854775807</MsgID><ErrorCode>-1</ErrorCode><ErrorStatus>system failed</ErrorStatus></List></xml>",
	} {
		c, err := openMessage(t, msg)
		if err != nil || c.CreateTime.Unix() != 1620963428 || c.MsgID != "9223372036854775807" || len(c.Items) != 1 || c.Items[0] != want {
			t.Errorf("%s: %+v, %v", msg, c, err)
		}
	}
}

// Whatever is not known is kept as it came.
func TestCallbackUnknownEvents(t *testing.T) {
	t.Parallel()
	for name, msg := range map[string]string{
		"punished":     `{"ToUserName":"gh_1","MsgType":"event","Event":"wxa_punish_event","what":[1,[2,{"x":null}],true],"List":"text"}`,
		"text message": `<?xml version="1.0" encoding="UTF-8"?><!-- hello --><xml><MsgType>text</MsgType><Content>a &lt;b&gt; &#x4e2d; &amp; &quot;&apos;</Content><MsgId>1</MsgId></xml>` + "\n",
		"nothing":      `{}`,
	} {
		c, err := openMessage(t, msg)
		if err != nil || string(c.Raw) != msg || c.Items != nil {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

func TestCallbackBadMessages(t *testing.T) {
	t.Parallel()
	deepXML := "<xml>" + strings.Repeat("<a>", 40) + strings.Repeat("</a>", 40) + "</xml>"
	deepJSON := `{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "}"
	for name, tt := range map[string]struct {
		msg  string
		want CallbackReason
	}{
		"empty":                         {"", CallbackBadBody},
		"text":                          {"success", CallbackBadBody},
		"a JSON array":                  {`[{"Event":"x"}]`, CallbackBadBody},
		"two JSON objects":              {`{}{}`, CallbackBadBody},
		"a trailing comma":              {`{"Event":"x",}`, CallbackBadBody},
		"JSON that ends early":          {`{"Event":"x"`, CallbackBadBody},
		"not UTF-8":                     {"{\"Event\":\"\xff\"}", CallbackBadBody},
		"a NUL in JSON":                 {`{"FromUserName":"a\u0000b"}`, CallbackBadBody},
		"a NUL in XML":                  {"<xml><FromUserName>a&#0;b</FromUserName></xml>", CallbackBadBody},
		"a field twice in JSON":         {`{"FromUserName":"a","FromUserName":"b"}`, CallbackBadBody},
		"a field twice in XML":          {"<xml><Event>a</Event><Event>b</Event></xml>", CallbackBadBody},
		"a field of an item twice":      {`{"Event":"subscribe_msg_sent_event","List":{"MsgID":"1","MsgID":"2"}}`, CallbackBadBody},
		"an object for a text":          {`{"Event":{"a":1}}`, CallbackBadBody},
		"CreateTime is no number":       {`{"CreateTime":"yesterday"}`, CallbackBadBody},
		"CreateTime is a fraction":      {`{"CreateTime":1.5}`, CallbackBadBody},
		"CreateTime is negative":        {`{"CreateTime":-1}`, CallbackBadBody},
		"CreateTime after year 9999":    {`{"CreateTime":253402300800}`, CallbackBadBody},
		"another root":                  {"<html><Event>x</Event></html>", CallbackBadBody},
		"two roots":                     {"<xml></xml><xml></xml>", CallbackBadBody},
		"text after the root":           {"<xml></xml>more", CallbackBadBody},
		"text in the root":              {"<xml>text</xml>", CallbackBadBody},
		"XML that ends early":           {"<xml><Event>x</Event>", CallbackBadBody},
		"elements that cross":           {"<xml><a><b></a></b></xml>", CallbackBadBody},
		"XML in another encoding":       {`<?xml version="1.0" encoding="GBK"?><xml></xml>`, CallbackBadBody},
		"a processing instruction":      {`<xml><?php echo 1 ?></xml>`, CallbackBadBody},
		"an unknown entity":             {"<xml><Event>&nbsp;</Event></xml>", CallbackBadBody},
		"an entity of a DTD":            {`<!DOCTYPE xml [<!ENTITY a "aaaa">]><xml><Event>&a;</Event></xml>`, CallbackDTD},
		"an external DTD":               {`<!DOCTYPE xml SYSTEM "http://127.0.0.1/x.dtd"><xml></xml>`, CallbackDTD},
		"a directive within":            {`<xml><!ENTITY a "a"></xml>`, CallbackDTD},
		"a DTD behind":                  {`<xml></xml><!DOCTYPE xml>`, CallbackDTD},
		"XML nested too deep":           {deepXML, CallbackBadBody},
		"JSON nested too deep":          {deepJSON, CallbackBadBody},
		"too many elements":             {"<xml>" + strings.Repeat("<a/>", maxFields) + "</xml>", CallbackBadBody},
		"too many values":               {`{"a":[` + strings.Repeat("1,", maxFields) + `1]}`, CallbackBadBody},
		"an element of a namespace":     {`<xml xmlns="http://example.com/"><Event>x</Event></xml>`, CallbackBadBody},
		"an Event in another namespace": {`<xml><a:CreateTime>x</a:CreateTime><CreateTime>y</CreateTime></xml>`, CallbackBadBody},
	} {
		c, err := openMessage(t, tt.msg)
		if c != nil {
			t.Errorf("%s: got %+v", name, c)
		}
		t.Run(name, func(t *testing.T) { wantReason(t, err, tt.want, "yesterday", "nbsp", "passwd") })
	}
}
