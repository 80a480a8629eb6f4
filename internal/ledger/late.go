package ledger

import "github.com/hongyan-push/hongyan"

// late keeps the outcome of an attempt whose message has moved on: somebody resolved it, or
// it is to be sent again, or was. An accept settles what can still be settled; otherwise
// it is entered as one more grant spent, unless the message holds one for it.
func (t *txn) late(gs grants, r *result, w *resultRow) error {
	if !r.o.Called() {
		return nil
	}
	class, errcode, errmsg, msgid := attemptColumns(r.o)
	started, ended := or(ms(r.o.StartedAt), w.startedAt), or(ms(r.o.EndedAt), t.now)
	accepted := r.o.Class == hongyan.OutcomeOK
	open := w.state == stUncertain || w.state == stQueued || w.state == stScheduled
	if accepted && open {
		return t.acceptLate(gs, r, w)
	}
	if w.attempt == r.job.attempt {
		if _, err := t.exec(`/* ledger.late */ UPDATE messages SET class = ?, errcode = ?, errmsg = ?, msgid = ?, started_at = ?, ended_at = ? WHERE seq = ? AND attempt = ?`,
			class, errcode, errmsg, msgid, started, ended, w.seq, w.attempt); err != nil {
			return err
		}
	} else if err := t.keepAttempt(w.seq, r.job.attempt, class, errcode, errmsg, msgid, started, ended); err != nil {
		return err
	}
	// Accepted, delivered, undelivered: the grant counts as spent. Failed by a person's word:
	// it was returned. Sending again: one grant is for the call under way.
	spent := w.state == stAccepted || w.state == stDelivered || w.state == stUndelivered
	if !accepted || spent && w.attempt == r.job.attempt || w.reserved > 1 {
		return nil
	}
	k := grantKey{w.user, w.template}
	g, err := t.grant(gs, k, t.l.appByNo(w.app).kindOf(w.template))
	if err != nil {
		return err
	}
	n, err := t.spend(k, g, started, string(r.job.Message.ID), hongyan.SourceInferred)
	if err != nil || n == 0 {
		return err
	}
	_, err = t.exec(`/* ledger.late */ UPDATE messages SET reserved = reserved + ? WHERE seq = ?`, n, w.seq)
	return err
}

// acceptLate settles a message by the proof that an earlier call delivered it after all.
func (t *txn) acceptLate(gs grants, r *result, w *resultRow) error {
	k := grantKey{w.user, w.template}
	g, err := t.grant(gs, k, t.l.appByNo(w.app).kindOf(w.template))
	if err != nil {
		return err
	}
	class, errcode, errmsg, msgid := attemptColumns(r.o)
	started, ended := or(ms(r.o.StartedAt), w.startedAt), or(ms(r.o.EndedAt), t.now)
	keep := w.reserved
	if w.state != stUncertain {
		keep = min(keep, 1) // the second was for a call that will not be made now
	}
	back := w.reserved - keep
	if keep == 0 {
		if keep, err = t.spend(k, g, started, string(r.job.Message.ID), hongyan.SourceInferred); err != nil {
			return err
		}
	}
	if w.attempt != r.job.attempt {
		// The row shows the attempt that delivered it; the one after it joins the others.
		if err := t.archive([]any{w.seq}); err != nil {
			return err
		}
	}
	if _, err := t.exec(`/* ledger.acceptLate */ DELETE FROM attempts WHERE seq = ? AND attempt = ?`, w.seq, r.job.attempt); err != nil {
		return err
	}
	if _, err := t.exec(`/* ledger.acceptLate */ UPDATE messages SET state = 5, reason = '', reserved = ?, attempt = ?, class = ?, errcode = ?, errmsg = ?, msgid = ?, started_at = ?, ended_at = ?, resend_at = NULL, updated_at = ? WHERE seq = ?`,
		keep, r.job.attempt, class, errcode, errmsg, msgid, started, ended, t.now, w.seq); err != nil {
		return err
	}
	t.countState(w.template, stAccepted, "", 0)
	t.emitMessage(hongyan.EventMessageAccepted, w.app, w.seq)
	if back == 0 {
		return nil
	}
	g.Return(back)
	g.dirty = true
	return t.serve(k, g, 0)
}

func (t *txn) keepAttempt(seq, attempt int64, class, errcode, errmsg, msgid any, started, ended int64) error {
	if _, err := t.exec(`/* ledger.keepAttempt */ DELETE FROM attempts WHERE seq = ? AND attempt = ?`, seq, attempt); err != nil {
		return err
	}
	_, err := t.exec(`/* ledger.keepAttempt */ INSERT INTO attempts (seq, attempt, class, errcode, errmsg, msgid, started_at, ended_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		seq, attempt, class, errcode, errmsg, msgid, started, ended)
	return err
}
