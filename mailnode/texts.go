package mailnode

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/go-pluto/pluto/config"
	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/imap/mime"
	"github.com/go-pluto/pluto/mailstore/textindex"
)

// texts is the node's index of texts, with those who keep it.
type texts struct {
	db      *textindex.DB // nil: there is none
	cancel  context.CancelFunc
	keepers sync.WaitGroup
}

// openTexts opens the text index, or deletes it if it is turned off. A node can do without.
func (n *Node) openTexts() {
	dir := filepath.Join(n.opts.Node.DataRoot, "textindex")
	if !n.opts.Config.IMAP.TextIndex {
		if err := os.RemoveAll(dir); err != nil {
			level.Warn(n.logger).Log("msg", "text index that is turned off cannot be deleted", "err", err)
		}
		return
	}
	db, err := textindex.Open(dir, textindex.Options{
		Texts:   mime.TextsVersion(),
		Logger:  n.logger,
		Metrics: textindex.NewMetrics(n.registry),
	})
	if err != nil {
		level.Error(n.logger).Log("msg", "no text index: searches read all messages", "err", err)
		return
	}
	n.texts.db = db
	n.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "pluto_textindex_contents", Help: "Contents of messages that are in the text index.",
		}, func() float64 { return float64(db.Contents()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "pluto_textindex_bytes", Help: "Size of the text index on the disk.",
		}, func() float64 { return float64(db.Size()) }),
	)
}

// indexShare returns which part of a processor's time making the index may take.
func (n *Node) indexShare() int {
	if n.opts.Node.Role == config.RoleStorage {
		return indexShareStorage
	}
	return indexShare
}

// startTexts begins to keep the index, until closeTexts.
func (n *Node) startTexts(ctx context.Context) {
	if n.texts.db == nil {
		return
	}
	ctx, n.texts.cancel = context.WithCancel(ctx)
	for _, m := range n.members {
		m.indexer.replica = m.replica
		n.texts.keepers.Go(func() { m.indexer.run(ctx) })
	}
	n.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pluto_textindex_waiting", Help: "Contents of messages that are known to be missing in the text index: searches read them.",
	}, func() float64 {
		waiting := int64(0)
		for _, m := range n.members {
			waiting += m.indexer.pending()
		}
		return float64(waiting)
	}))
	if err := n.dropStrangers(); err != nil {
		level.Warn(n.logger).Log("msg", "text index of former replicas cannot be deleted", "err", err)
	}
}

// dropStrangers deletes what is in the index of replicas that are no more.
func (n *Node) dropStrangers() error {
	mine := make(map[crdt.Origin]bool)
	for _, m := range n.members {
		mine[m.replica.Origin()] = true
	}
	owners, err := n.texts.db.Owners()
	for _, o := range owners {
		if !mine[o.Replica] {
			err = errors.Join(err, n.texts.db.Drop(o))
		}
	}
	return err
}

func (n *Node) closeTexts() error {
	if n.texts.db == nil {
		return nil
	}
	if n.texts.cancel != nil {
		n.texts.cancel()
	}
	n.texts.keepers.Wait()
	if err := n.texts.db.Close(); err != nil {
		return fmt.Errorf("text index: %w", err)
	}
	return nil
}

// accountTexts is what the index has of an account. The zero value has nothing.
type accountTexts struct {
	db    *textindex.DB
	owner textindex.Owner
}

func (m *member) textsOf(account crdt.AccountID) accountTexts {
	if m.indexer == nil {
		return accountTexts{}
	}
	return accountTexts{m.indexer.db, textindex.Owner{Replica: m.replica.Origin(), Account: account}}
}

// TextFilter implements imap.TextSearcher.
func (a account) TextFilter(ctx context.Context, strings []imap.TextString) imap.TextFilter {
	if a.texts.db == nil {
		return nil
	}
	needles := make([]textindex.Needle, len(strings))
	for i, s := range strings {
		needles[i] = textindex.Needle{Folded: s.Folded, Headers: s.Headers}
	}
	if f := a.texts.db.Filter(ctx, a.texts.owner, needles); f != nil {
		return filter{f}
	}
	return nil
}

type filter struct{ *textindex.Filter }

func (f filter) May(m *imap.Message, i int) bool { return f.Filter.May(crdt.Root(m.Root), i) }
