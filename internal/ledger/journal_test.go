package ledger

import (
	"fmt"
	"math"
	"reflect"
	"testing"
)

func journalSample() ([]*journaled, []accepted) {
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
	over.accept(accepted{math.MaxInt64, 4e18, -1, math.MinInt64})
	return []*journaled{under, over}, []accepted{{1, 2, 3, 4}, {5, 0, -6, math.MaxInt64}}
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

// TestJournalStatements: what asks for messages is told from what does not.
func TestJournalStatements(t *testing.T) {
	t.Parallel()
	x := &texts{d: sqliteDialect()}
	for q, want := range map[string]bool{
		`/* ledger.Message */ SELECT id FROM messages WHERE seq = ?`:               true,
		`/* ledger.x */ DELETE FROM messages`:                                      true,
		`/* ledger.head */ ` + pastJournal + `SELECT seq FROM messages`:            false,
		`/* ledger.foldMark */ SELECT value FROM meta WHERE name = 'user_message'`: false,
		`/* ledger.byUser */ SELECT id FROM user_messages`:                         false,
		`/* ledger.Messages */ SELECT no FROM users`:                               false,
	} {
		if got := x.aboutMessages(q); got != want {
			t.Errorf("%s: %v", q, got)
		}
	}
}
