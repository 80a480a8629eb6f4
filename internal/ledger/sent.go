package ledger

import (
	"context"
	"fmt"
	"strconv"

	"github.com/hongyan-push/hongyan"
)

// A sent event (subscribe_msg_sent_event) says what became of a send, by its msgid. It may
// come before the answer of the call that it belongs to, and for an uncertain message it is
// the only answer there will be.

// sentWaits are when a sent event is looked at again whose message was not found, ms after
// it came. After the last it is judged: an answer on its way would be there by then.
var sentWaits = []int64{1_000, 5_000, 20_000, 60_000}

// Evidence for an uncertain message lies within its call and a while after it.
const (
	evidenceBefore = 5_000
	evidenceAfter  = 15 * 60_000
	// evidenceMost is how long an event waits for calls that are still under way.
	evidenceMost = 10 * 60_000
)

// findSent finds the messages of sent events by their users: an index of all messages by
// msgid would cost more than all events together.
func (l *Ledger) findSent(ctx context.Context, all []*received) error {
	mark, err := l.foldMark(ctx)
	if err != nil {
		return fmt.Errorf("find sent messages: %w", err)
	}
	type name struct{ user, msgid int64 }
	names := make(map[name]int64)
	users := make(map[userKey]int64)
	var openids, nos, msgids []any
	for _, c := range all {
		k := userKey{c.app.no, c.cb.OpenID}
		if _, asked := users[k]; !asked {
			users[k] = 0
			openids = append(openids, string(k.openid))
		}
		for _, item := range c.cb.Items {
			if id, err := strconv.ParseInt(item.MsgID, 10, 64); err == nil {
				msgids = append(msgids, id)
			}
		}
	}
	list, args := l.d.list(openids, kindText)
	rs, err := l.rdb.QueryContext(ctx, `/* ledger.findSent */ SELECT app_no, openid, no FROM users WHERE openid `+list, args...)
	if err != nil {
		return fmt.Errorf("find sent messages: %w", err)
	}
	if err := eachRow(rs, func(r scanner) error {
		var k userKey
		var no int64
		err := r.Scan(&k.app, &k.openid, &no)
		if _, asked := users[k]; asked {
			users[k] = no
			nos = append(nos, no)
		}
		return err
	}); err != nil {
		return fmt.Errorf("find sent messages: %w", err)
	}
	if len(nos) > 0 && len(msgids) > 0 {
		us, userArgs := l.d.list(nos, kindInt)
		ms, msgidArgs := l.d.list(msgids, kindInt)
		// The folded index knows the older ones, the young tail is read once for all events.
		args := append(append(append([]any{}, userArgs...), msgidArgs...), mark)
		args = append(append(args, userArgs...), msgidArgs...)
		rs, err := l.rdb.QueryContext(ctx, `/* ledger.findSent */ SELECT m.seq, m.user_no, m.msgid FROM user_messages x JOIN messages m ON m.id = x.id WHERE x.user_no `+us+` AND m.msgid `+ms+
			` UNION ALL SELECT seq, user_no, msgid FROM messages WHERE id > ? AND user_no `+us+` AND msgid `+ms, args...)
		if err != nil {
			return fmt.Errorf("find sent messages: %w", err)
		}
		if err := eachRow(rs, func(r scanner) error {
			var n name
			var seq int64
			err := r.Scan(&seq, &n.user, &n.msgid)
			names[n] = seq
			return err
		}); err != nil {
			return fmt.Errorf("find sent messages: %w", err)
		}
	}
	for _, c := range all {
		c.seqs = make([]int64, len(c.cb.Items))
		for i, item := range c.cb.Items {
			if id, err := strconv.ParseInt(item.MsgID, 10, 64); err == nil {
				c.seqs[i] = names[name{users[userKey{c.app.no, c.cb.OpenID}], id}]
			}
		}
	}
	return nil
}

func (l *Ledger) applyAllSent(ctx context.Context, all []*received) error {
	if len(all) == 0 {
		return nil
	}
	if err := l.findSent(ctx, all); err != nil {
		return err
	}
	return l.applyAll(ctx, all, (*txn).applySent)
}

// applySent settles the messages of sent events, and waits for or judges those of none.
func (t *txn) applySent(all []*received) error {
	gs := make(grants)
	var seqs []any
	for _, c := range all {
		for _, seq := range c.seqs {
			if seq != 0 {
				seqs = append(seqs, seq)
			}
		}
	}
	rows := make(map[int64]*row)
	if len(seqs) > 0 {
		places, err := t.places(seqs)
		if err != nil {
			return err
		}
		locked, err := t.lockRows(gs, places)
		if err != nil {
			return err
		}
		for _, w := range locked {
			rows[w.seq] = w
		}
	}
	for _, c := range all {
		if len(c.cb.Items) == 0 {
			c.note("it names no message")
		}
		for i, item := range c.cb.Items {
			var err error
			if w := rows[c.seqs[i]]; w != nil {
				err = t.settleSent(c, w, item)
			} else {
				err = t.judgeSent(gs, c, item)
			}
			if err != nil {
				return err
			}
		}
	}
	return t.flush(gs)
}

// sentState is what an event says.
func sentState(item hongyan.CallbackItem) int64 {
	if item.ErrorCode == "0" {
		return stDelivered
	}
	return stUndelivered
}

func sentReason(state int64) (reason hongyan.Code) {
	if state == stUndelivered {
		reason = hongyan.CodeUndelivered
	}
	return reason
}

// settleSent moves an accepted message to what the event says of it. Its grant is spent
// either way.
func (t *txn) settleSent(c *received, w *row, item hongyan.CallbackItem) error {
	if w.state != stAccepted {
		c.note("%s is %s already", w.message.ID, w.message.Status)
		return nil
	}
	state := sentState(item)
	w.state, w.message.Status = state, word(stateWords, state)
	c.note("%s: %s", w.message.ID, w.message.Status)
	t.countState(w.template, state, sentReason(state), sentErrcode(item))
	t.emitMessage(hongyan.EventOf(w.message.Status), w.app, w.seq)
	_, err := t.exec(`/* ledger.settleSent */ UPDATE messages SET state = ?, reason = ?, errmsg = ?, updated_at = ? WHERE seq = ? AND state + 0 = 5`,
		state, string(sentReason(state)), sentWords(item), t.now, w.seq)
	return err
}

// sentErrcode is WeChat's number of a failure, 0 where there is none.
func sentErrcode(item hongyan.CallbackItem) int64 {
	n, err := strconv.ParseInt(item.ErrorCode, 10, 32)
	if err != nil {
		return 0
	}
	return n
}

// sentWords keeps WeChat's own words of a failure.
func sentWords(item hongyan.CallbackItem) any {
	if item.ErrorCode == "0" {
		return nil
	}
	return storable(fmt.Sprintf("ErrorCode %s %s", item.ErrorCode, item.ErrorStatus))
}

// judgeSent is about an event whose msgid no message has. It waits while the answer may be
// on its way; then it is taken for the one uncertain message that it can belong to, if
// there is exactly one.
func (t *txn) judgeSent(gs grants, c *received, item hongyan.CallbackItem) error {
	age := t.now - c.receivedAt
	for _, wait := range sentWaits {
		if age < wait {
			c.again = c.receivedAt + wait
			c.note("msgid %s: no message has it yet", item.MsgID)
			return nil
		}
	}
	none := func(why string) error {
		c.note("msgid %s: no message has it; %s", item.MsgID, why)
		return nil
	}
	te := c.app.lookup(item.TemplateID)
	msgid, err := strconv.ParseInt(item.MsgID, 10, 64)
	switch {
	case err != nil || msgid == 0:
		return none("it is no msgid")
	case te == nil:
		return none("the app has no such template here")
	case !c.cb.Encrypted:
		return none("nothing vouches for a plain push")
	}
	user, err := t.userOf(c.app.no, c.cb.OpenID)
	if err != nil {
		return err
	}
	if user == 0 {
		return none("no message went to this user from here")
	}
	if earlier, err := t.earlierAttempt(user, msgid); err != nil || earlier {
		c.note("msgid %s: of an earlier attempt of a message that has ended", item.MsgID)
		return err
	}
	k := grantKey{user, te.no}
	if _, err := t.grant(gs, k, te.template.Kind); err != nil {
		return err
	}
	found, sending, err := t.uncertainAt(k, ms(c.cb.SentAt))
	switch {
	case err != nil:
		return err
	case sending && age < evidenceMost:
		c.again = t.now + 20_000
		return none("a call to this user is under way")
	case sending || len(found) != 1:
		return none(fmt.Sprintf("%d uncertain ones could be it", len(found)))
	}
	w, err := t.rowAt(found[0])
	if err != nil {
		return err
	}
	return t.resolveSent(gs, c, w, item, msgid)
}

// earlierAttempt reports whether an attempt before a message's latest has this msgid.
func (t *txn) earlierAttempt(user, msgid int64) (known bool, err error) {
	mark, err := t.foldMark()
	if err != nil {
		return false, err
	}
	err = t.row(`/* ledger.earlierAttempt */ SELECT EXISTS (SELECT 1 FROM `+ofUser+` JOIN attempts a ON a.seq = m.seq WHERE a.msgid = ?)`, []any{user, mark, user, msgid}, &known)
	return known, err
}

func (t *txn) userOf(appNo int64, openid hongyan.OpenID) (int64, error) {
	found := make(map[hongyan.OpenID]int64)
	err := t.findUsers(appNo, []hongyan.OpenID{openid}, found, "")
	return found[openid], err
}

// uncertainAt locks and lists the uncertain messages whose latest call could have caused an
// event of that time, and tells whether a call is under way.
func (t *txn) uncertainAt(k grantKey, when int64) (found []int64, sending bool, err error) {
	cond, args := t.live(k)
	err = t.rows(`/* ledger.uncertainAt */ SELECT seq, state, started_at, ended_at FROM messages m WHERE `+cond+` ORDER BY seq`+t.l.d.lock, args, func(r scanner) error {
		var seq, state, started, ended int64
		err := r.Scan(&seq, &state, &started, &ended)
		sending = sending || state == stSending
		if state == stUncertain && started-evidenceBefore <= when && when <= ended+evidenceAfter {
			found = append(found, seq)
		}
		return err
	})
	return found, sending, err
}

// resolveSent settles an uncertain message by an event.
func (t *txn) resolveSent(gs grants, c *received, w *row, item hongyan.CallbackItem, msgid int64) error {
	k := grantKey{w.user, w.template}
	g := gs[k]
	spent := int64(w.message.Reserved)
	var back int64
	if spent > 1 { // the second was for a repeat that is not needed now
		back, spent = spent-1, 1
	}
	if spent == 0 {
		var err error
		if spent, err = t.spend(k, g, w.startedAt, string(w.message.ID), hongyan.SourceResolved); err != nil {
			return err
		}
	}
	state := sentState(item)
	if _, err := t.exec(`/* ledger.resolveSent */ UPDATE messages SET state = ?, reason = ?, reserved = ?, msgid = ?, errmsg = COALESCE(?, errmsg), resend_at = NULL, updated_at = ? WHERE seq = ? AND state + 0 = 9`,
		state, string(or(sentReason(state), hongyan.CodeSentEvent)), spent, msgid, sentWords(item), t.now, w.seq); err != nil {
		return err
	}
	if _, err := t.exec(`/* ledger.resolveSent */ INSERT INTO evidence (app_no, msgid, seq, callback_id, recorded_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (app_no, msgid) DO NOTHING`, c.app.no, msgid, w.seq, c.id[:], t.now); err != nil {
		return err
	}
	c.note("%s was uncertain: %s", w.message.ID, word(stateWords, state))
	t.countState(w.template, state, sentReason(state), sentErrcode(item))
	t.emitMessage(hongyan.EventMessageUncertainClosed, w.app, w.seq)
	if back == 0 {
		return nil
	}
	g.Return(back)
	g.dirty = true
	return t.serve(k, g, 0)
}

// unresolve takes back what an event had resolved by inference, when an answer says that
// its msgid belongs to another message: that one gets the event, and the first is uncertain
// again.
func (t *txn) unresolve(appNo, msgid, seq int64) error {
	if msgid == 0 {
		return nil
	}
	var other int64
	var callback []byte
	found := false
	if err := t.rows(`/* ledger.unresolve */ SELECT seq, callback_id FROM evidence WHERE app_no = ? AND msgid = ?`, []any{appNo, msgid}, func(r scanner) error {
		found = true
		return r.Scan(&other, &callback)
	}); err != nil || !found || other == seq {
		return err
	}
	if _, err := t.exec(`/* ledger.unresolve */ DELETE FROM evidence WHERE app_no = ? AND msgid = ?`, appNo, msgid); err != nil {
		return err
	}
	n, err := t.exec(`/* ledger.unresolve */ UPDATE messages SET state = 9, reason = ?, msgid = NULL, updated_at = ? WHERE seq = ? AND msgid = ? AND state + 0 IN (6, 7)`,
		string(hongyan.CodeWeChatUnclear), t.now, other, msgid)
	if err != nil {
		return err
	}
	if n > 0 {
		var template int64
		if err := t.row(`/* ledger.unresolve */ SELECT template_no FROM messages WHERE seq = ?`, []any{other}, &template); err != nil {
			return err
		}
		t.countState(template, stUncertain, "", 0)
	}
	t.emitMessage(hongyan.EventMessageUncertain, appNo, other)
	_, err = t.exec(`/* ledger.unresolve */ UPDATE callbacks SET due_at = ? WHERE id = ?`, t.now, callback)
	t.after = append(t.after, func() { signal(t.l.pushed) })
	return err
}
