package ledger

import (
	"fmt"
	"math"
	"reflect"
	"testing"
)

func journalSample() ([]*journaled, []acceptance) {
	row := func(seq int64, msgid any, data string) []any {
		r := make([]any, len(journalColumns))
		for i, c := range journalColumns {
			switch c.kind {
			case kindInt:
				r[i] = seq * int64(i)
			case kindText:
				r[i] = data
			default:
				r[i] = []byte{0, 1, 255}
			}
		}
		r[journalSeq], r[journalState], r[journalMsgID] = seq, int64(stSending), msgid
		return r
	}
	under, over := &journaled{row: row(7, nil, "")}, &journaled{row: row(math.MaxInt64, int64(1), "鸿雁\x00\xff")}
	over.accept(acceptance{math.MaxInt64, 4e18, -1, math.MinInt64})
	return []*journaled{under, over}, []acceptance{{1, 2, 3, 4}, {5, 0, -6, math.MaxInt64}}
}

func TestJournalText(t *testing.T) {
	t.Parallel()
	fresh, ends := journalSample()
	body := encodeJournal(fresh, ends)
	gotFresh, gotEnds, err := decodeJournal(body)
	if err != nil || !reflect.DeepEqual(gotFresh, fresh) || !reflect.DeepEqual(gotEnds, ends) {
		t.Errorf("%v: read %v and %v, want %v and %v", err, gotFresh, gotEnds, fresh, ends)
	}
	for n := range body {
		if _, _, err := decodeJournal(body[:n]); err == nil {
			t.Errorf("the first %d of %d bytes were read", n, len(body))
		}
	}
	if _, _, err := decodeJournal(append(body, 0)); err == nil {
		t.Error("something behind the end was passed over")
	}
}

// FuzzJournal: whatever is in the file, a start says so and does not fall over; what is read
// can be written again.
func FuzzJournal(f *testing.F) {
	f.Add(encodeJournal(journalSample()))
	f.Add(encodeJournal(nil, nil))
	f.Fuzz(func(t *testing.T, body []byte) {
		fresh, ends, err := decodeJournal(body)
		if err != nil {
			return
		}
		again, moreEnds, err := decodeJournal(encodeJournal(fresh, ends))
		if err != nil || fmt.Sprint(len(again), moreEnds) != fmt.Sprint(len(fresh), ends) {
			t.Errorf("%v: %d and %v became %d and %v", err, len(fresh), ends, len(again), moreEnds)
		}
	})
}

// TestConcerns: what a statement has to do with the journal and with what is known is read
// from its text.
func TestConcerns(t *testing.T) {
	t.Parallel()
	x := &texts{d: sqliteDialect()}
	for q, want := range map[string]concerns{
		`/* ledger.Message */ SELECT id FROM messages WHERE seq = ?`:                                 asksMessages,
		`/* ledger.x */ DELETE FROM messages`:                                                        asksMessages,
		`/* ledger.head */ ` + pastJournal + `SELECT seq FROM messages`:                              0,
		`/* ledger.foldMark */ SELECT value FROM meta WHERE name = 'user_messages'`:                  0,
		`/* ledger.byUser */ SELECT id FROM user_messages`:                                           0,
		`/* ledger.Messages */ SELECT no FROM users`:                                                 0,
		`/* ledger.x */ INSERT INTO grants (user_no) SELECT user_no FROM messages`:                   asksMessages | writesGrants,
		`/* ledger.flush */ ` + told + `INSERT INTO grants (user_no)`:                                0,
		`/* ledger.x */ UPDATE grants SET taken = 1`:                                                 writesGrants,
		`/* ledger.x */ DELETE FROM grants WHERE user_no = ?`:                                        writesGrants,
		`/* ledger.addEntry */ INSERT INTO grant_entries (user_no)`:                                  0,
		`/* ledger.forget */ UPDATE users SET openid = ?, unionid = ''`:                              renamesUsers,
		"/* ledger.x */ UPDATE users SET unionid = '',\n a = 1, openid = ? WHERE no = ?":             renamesUsers,
		`/* ledger.x */ DELETE FROM users WHERE no = ?`:                                              renamesUsers,
		`/* ledger.ReplaceSessionKey */ UPDATE users SET session_key = ? WHERE a = ? AND openid = ?`: 0,
	} {
		if got := x.concerns(q); got != want {
			t.Errorf("%s: %b, want %b", q, got, want)
		}
	}
}
