// A shop's back end in Go: an order comes in, its buyer logs in, a subscription message goes
// out, and a webhook tells what became of it. See ../README.md for how to start it.
package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

func main() {
	c, err := client.New(client.Config{
		BaseURL: cmp.Or(os.Getenv("HONGYAN_API"), "http://127.0.0.1:8420"),
		APIKey:  os.Getenv("HONGYAN_API_KEY"),
	})
	if err != nil {
		log.Fatal(err)
	}
	s := &shop{
		hongyan:  c,
		app:      hongyan.AppID(os.Getenv("HONGYAN_APP")),
		template: cmp.Or(os.Getenv("HONGYAN_TEMPLATE"), "order_paid"),
		secret:   os.Getenv("HONGYAN_WEBHOOK_SECRET"),
		seen:     make(map[hongyan.EventID]bool),
	}
	http.HandleFunc("POST /orders", s.order)
	http.HandleFunc("POST /hook", s.hook)
	l, err := net.Listen("tcp", "127.0.0.1:"+cmp.Or(os.Getenv("PORT"), "8500"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s\n", l.Addr())
	log.Fatal((&http.Server{ReadHeaderTimeout: 10 * time.Second}).Serve(l))
}

type shop struct {
	hongyan  *client.Client
	app      hongyan.AppID
	template string
	secret   string

	mu   sync.Mutex
	seen map[hongyan.EventID]bool // a real shop keeps them in its database
}

type order struct {
	Code   string `json:"code"` // of wx.login
	Number string `json:"number"`
	Item   string `json:"item"`
	Amount string `json:"amount"`
	PaidAt string `json:"paid_at"`
}

func (s *shop) order(w http.ResponseWriter, r *http.Request) {
	var o order
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&o); err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": "The order is not JSON."})
		return
	}
	user, err := s.hongyan.Login(r.Context(), s.app, o.Code, "")
	if err != nil {
		answer(w, http.StatusBadGateway, problem(err))
		return
	}
	m, err := s.send(r, user.OpenID, o)
	switch {
	case hongyan.CodeOf(err) == hongyan.CodeNoGrant:
		// The order stands all the same; the next tap on 订阅 brings a grant.
		answer(w, http.StatusOK, map[string]string{"status": "not_told", "reason": "no_grant"})
	case err != nil:
		answer(w, http.StatusBadGateway, problem(err))
	default:
		answer(w, http.StatusOK, map[string]string{"message": string(m.ID), "status": string(m.Status)})
	}
}

// send may repeat itself: the key of the order lets a repeat find the first message. So all
// that the message says must be the order's own: the time of the call would make it another.
func (s *shop) send(r *http.Request, to hongyan.OpenID, o order) (*hongyan.Message, error) {
	sub := hongyan.Submission{App: s.app, To: hongyan.Recipient{OpenID: to}, Template: s.template,
		Data: map[string]string{"character_string1": o.Number, "thing2": o.Item, "amount3": o.Amount, "date4": o.PaidAt, "thing11": "我们会尽快为您发货"},
		// What comes back with the webhook.
		Metadata: map[string]string{"order": o.Number}}
	for try := 1; ; try++ {
		m, err := s.hongyan.Submit(r.Context(), sub, client.Options{IdempotencyKey: "paid-" + o.Number})
		if err == nil || try == 3 || !mayPass(err) {
			return m, err
		}
		select {
		case <-time.After(time.Second):
		case <-r.Context().Done():
			return nil, err
		}
	}
}

// mayPass tells failures that a repeat may cure from those that it cannot.
func mayPass(err error) bool {
	switch hongyan.CodeOf(err) {
	case hongyan.CodeStorageUnavailable, hongyan.CodeShuttingDown, hongyan.CodeRateLimited, hongyan.CodeInternal:
		return true // also what is no answer of Hongyan's, such as a broken connection
	}
	return false
}

func (s *shop) hook(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	event, err := client.VerifyWebhook(s.secret, r.Header, body, time.Now())
	if err != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.WriteHeader(http.StatusNoContent)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[event.ID] {
		return // at least once means that it may come twice
	}
	s.seen[event.ID] = true
	var m hongyan.Message
	if json.Unmarshal(event.Data, &m) == nil {
		fmt.Println(event.Type, m.ID, "order", m.Metadata["order"])
	}
}

func problem(err error) map[string]string {
	return map[string]string{"error": err.Error(), "code": string(hongyan.CodeOf(err))}
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
