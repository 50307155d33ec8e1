package mailstore

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/go-pluto/pluto/crdt"
)

// TestKeysOfCommits: what a command writes depends on the messages that it names
// and not on the size of the mailbox, here and at the peer that applies it.
func TestKeysOfCommits(t *testing.T) {
	small, large := commitKeys(t, 50), commitKeys(t, 2000)
	for what, n := range small {
		if large[what] != n {
			t.Errorf("%s: %d keys in a mailbox of 50 messages, %d in one of 2,000", what, n, large[what])
		}
	}
	for _, k := range []string{"append", "store", "copy", "move", "expunge"} {
		for _, at := range []string{"own", "peer"} {
			one, ten := small[k+" 1 "+at], small[k+" 10 "+at]
			if perMessage := (ten - one + 8) / 9; perMessage > 8 || one > perMessage+8 {
				t.Errorf("%s at %s: %d keys for one message, %d for ten", k, at, one, ten)
			}
		}
	}
}

// commitKeys returns how many keys each command writes in a mailbox of a size,
// which has twins.
func commitKeys(t *testing.T, size int) map[string]int {
	a, b := newNode(t, 1), newNode(t, 2)
	ctx := ctxOf(t)
	sa, sb := a.session(), b.session()
	var list []NewMessage
	for i := range size {
		list = append(list, stageIn(ctx, t, sa, []byte(strconv.Itoa(i))))
	}
	if _, err := sa.Append(ctx, "INBOX", list); err != nil {
		t.Fatal(err)
	}
	settle(t, a, b)
	ma, mb := mustSelect(t, sa, "INBOX"), mustSelect(t, sb, "INBOX")
	twins := tags(ma.View())[:20]
	for _, m := range []*Mailbox{ma, mb} {
		if _, _, err := m.Move(ctx, twins, "Sent"); err != nil {
			t.Fatal(err)
		}
	}
	settle(t, a, b)
	sent := mustSelect(t, sa, "Sent")

	out := map[string]int{}
	run := func(what string, do func() error) {
		t.Helper()
		before, there := keysWritten(t, a), keysWritten(t, b)
		if err := do(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		b.pull(a)
		out[what+" own"], out[what+" peer"] = keysWritten(t, a)-before, keysWritten(t, b)-there
		settle(t, a, b)
	}
	for _, k := range []int{1, 10} {
		name := func(what string) string { return fmt.Sprint(what, " ", k) }
		run(name("append"), func() error {
			var list []NewMessage
			for range k {
				list = append(list, stageIn(ctx, t, sa, []byte("x")))
			}
			_, err := sa.Append(ctx, "INBOX", list)
			return err
		})
		in := tags(ma.View())
		run(name("store"), func() error {
			_, _, err := ma.Store(ctx, in[:k], FlagChange{Flags: Seen})
			return err
		})
		run(name("copy"), func() error {
			_, err := ma.Copy(ctx, in[:k], "Drafts")
			return err
		})
		run(name("move"), func() error {
			_, _, err := ma.Move(ctx, in[:k], "Drafts")
			return err
		})
		run(name("flag twins"), func() error {
			_, _, err := sent.Store(ctx, tags(sent.View())[:k], FlagChange{Flags: Deleted})
			return err
		})
		run(name("expunge twins"), func() error {
			_, err := sent.Expunge(ctx, tags(sent.View())[:k])
			return err
		})
		deleted := tags(ma.View())[:k]
		if _, _, err := ma.Store(ctx, deleted, FlagChange{Op: crdt.StoreAdd, Flags: Deleted}); err != nil {
			t.Fatal(err)
		}
		settle(t, a, b)
		run(name("expunge"), func() error {
			_, err := ma.Expunge(ctx, deleted)
			return err
		})
	}
	return out
}

func keysWritten(t *testing.T, n *node) int {
	t.Helper()
	var m dto.Metric
	if err := n.store.opts.Metrics.keys.(prometheus.Metric).Write(&m); err != nil {
		t.Fatal(err)
	}
	return int(m.GetHistogram().GetSampleSum())
}
