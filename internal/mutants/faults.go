package main

import "slices"

// The packages that hold the faults.
const (
	crdtPkg      = "./crdt"
	causalPkg    = "./comm/causal"
	mailstorePkg = "./mailstore"
	simPkg       = "./sim"
)

// faults is the table; sections and counterexamples (C1..) are crdt.md's.
var faults = slices.Concat(
	uidFaults,
	eraFaults,
	modseqFaults,
	flagFaults,
	messageFaults,
	contentFaults,
	mailboxFaults,
	replicationFaults,
	loadFaults,
	twinFaults,
)

// uidFaults are about UIDs, the horizon and MODSEQ: sections 1, 2 and 4.
var uidFaults = []fault{
	{
		name: "no-residue-classes",
		what: "every replica issues the next UID above those it knows (C12)",
		edits: []edit{
			{"crdt/site.go", "% uidClasses; skip > 0 {", "% uidClasses; skip > uidClasses {"},
			{"crdt/apply.go", "u.slot() != slot {", "u.slot() > MaxSlot {"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestExhaustive",
	},
	{
		name: "horizon-forgotten",
		what: "a restart does not assume that all known UIDs were told (1: H volatile, restart sets H := N)",
		edits: []edit{
			{"crdt/site.go", "b.H = max(b.H, b.N)", "b.H = 0"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestExhaustive",
	},
	{
		name: "no-durable-n",
		what: "a restart computes the largest known UID from the messages that are there (C13)",
		edits: []edit{
			{"crdt/memory.go", "\t\tb.Restart()\n", "\t\tb.N, b.MaxExp, b.H = 0, 0, 0\n\t\tfor i, m := range s.messages {\n\t\t\tif i.Box == b.ID {\n\t\t\t\tb.N, b.MaxExp = max(b.N, m.Reg), max(b.MaxExp, m.Exp)\n\t\t\t}\n\t\t}\n\t\tb.Restart()\n"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestExhaustive",
	},
	{
		name: "n-not-stored",
		what: "the mailstore does not keep the largest known UID (C13)",
		edits: []edit{
			{"crdt/codec_record.go", "uint64(b.N), uint64(b.H)", "0, uint64(b.H)"},
		},
		pkg: mailstorePkg, tests: "TestHorizonSurvivesRestart|TestCrash",
	},
	{
		name: "horizon-ignored",
		what: "whatever arrives is shown under its UID, also below an announced UIDNEXT (2.1)",
		edits: []edit{
			{"crdt/work.go", "case m.Reg > b.H:", "case m.Reg > 0:"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestExhaustive",
	},
	{
		name: "horizon-not-moved",
		what: "announcing UIDNEXT does not move the horizon (2.2)",
		edits: []edit{
			{"crdt/site.go", "b.H, b.High = max(b.H, b.MaxExp), ", "b.High = "},
		},
		pkg: crdtPkg, tests: "TestScripts|TestExhaustive",
	},
	{
		name: "vanished-only-if-shown",
		what: "UIDs that were replaced before they were shown here are not reported as vanished (C2)",
		edits: []edit{
			{"crdt/work.go", "\treturn w.vanish(b, gone)\n", "\treturn nil\n"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestExhaustive|TestConvergence",
	},
	{
		name: "refused-not-vanished",
		what: "a UID that is refused here is not reported as vanished (C3)",
		edits: []edit{
			{"crdt/work.go", "\tif err := w.vanish(b, m.Reg); err != nil {\n", "\tif err := w.vanish(b, 0); err != nil {\n"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestExhaustive",
	},
	{
		name: "removed-under-one-uid",
		what: "of a removed message only the UID shown here is reported as vanished (2: EXPUNGE)",
		edits: []edit{
			{"crdt/work.go", "\tfor _, u := range m.All {\n\t\tif err := w.vanish(b, u); err != nil {\n\t\t\treturn err\n\t\t}\n\t}\n\tif err := w.settle(b, m)", "\tfor _, u := range []UID{m.Exp} {\n\t\tif err := w.vanish(b, u); err != nil {\n\t\t\treturn err\n\t\t}\n\t}\n\tif err := w.settle(b, m)"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestRemovalReportsEveryUID|TestExhaustive",
	},
	{
		name: "absent-reissue-unheard",
		what: "a new UID of a message that is gone here does not raise N (2: REISSUE)",
		edits: []edit{
			{"crdt/work.go", "\tw.hear(b, x.UID)\n\tm, err := w.State.Message(b.ID, x.Tag)\n", "\tm, err := w.State.Message(b.ID, x.Tag)\n"},
		},
		pkg: crdtPkg, tests: "TestConcurrentOperationsCommute|TestExhaustive|TestConvergence",
	},
	{
		name: "nudge-without-horizon",
		what: "the leader does not issue above the horizon of who asked (2: NUDGE)",
		edits: []edit{
			{"crdt/effect.go", "\tw.hear(b, p.H)\n", ""},
		},
		pkg: crdtPkg, tests: "TestNudgeCarriesHorizon|TestConcurrentOperationsCommute",
	},
	{
		name: "everybody-reissues",
		what: "whoever refuses a UID issues another at once: it never ends (C1)",
		edits: []edit{
			{"crdt/work.go", "\tm.Refused = max(w.Now, 1)\n", "\tm.Refused = max(w.Now, 1)\n\tif re, err := w.reissue(b.Mailbox, []*Message{m}); err == nil {\n\t\tw.followup = append(w.followup, re...)\n\t}\n"},
		},
		pkg: crdtPkg, tests: "TestReissuesEnd",
	},
	{
		name: "origin-modseq",
		what: "changes get the MODSEQ of where they were made (C8)",
		edits: []edit{
			{"crdt/work.go", "\tm.Mod = w.Mod\n", "\tm.Mod = w.op.Time\n"},
			{"crdt/work.go", "b.High = max(b.High, w.Mod)", "b.High = max(b.High, w.op.Time)"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestExhaustive",
	},
}

// flagFaults are about flags: section 3.3.
var flagFaults = []fault{
	{
		name: "flags-by-arrival",
		what: "the flag change that arrives last wins, not the one that was made last",
		edits: []edit{
			{"crdt/flag.go", "if t < f.Time || t == f.Time && (f.On || !on) {", "if t == f.Time && (f.On || !on) {"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestConcurrentOperationsCommute|TestExhaustive",
	},
	{
		name: "flags-without-tie-break",
		what: "of two changes of one flag with one time the first to arrive wins",
		edits: []edit{
			{"crdt/flag.go", "t == f.Time && (f.On || !on)", "t == f.Time"},
		},
		pkg: crdtPkg, tests: "TestFlagTies",
	},
	{
		name: "replace-without-base",
		what: "replacing all flags does not hold against older changes that arrive later (2.5)",
		edits: []edit{
			{"crdt/flag.go", "\tm.Base = t\n", ""},
		},
		pkg: crdtPkg, tests: "TestScripts|TestConcurrentOperationsCommute",
	},
	{
		name: "store-readds",
		what: "STORE brings back what was expunged meanwhile, as in the published model (C9)",
		edits: []edit{
			{"crdt/effect.go", "\t\t\tcontinue // removed meanwhile: remove wins (3.1)\n", "\t\t\tb, err := w.box(t.Box)\n\t\t\tif err != nil {\n\t\t\t\treturn err\n\t\t\t}\n\t\t\tif err := w.add(b, &Message{Tag: t.Tag}, b.N); err != nil {\n\t\t\t\treturn err\n\t\t\t}\n\t\t\tcontinue\n"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestConcurrentOperationsCommute|TestExhaustive",
	},
	{
		name: "annotations-by-arrival",
		what: "of two annotations of one entry the one that arrives later wins, not the later one",
		edits: []edit{
			{"crdt/annotate.go", "\tif !r.Set(t, v) {\n\t\treturn nil\n\t}\n", "\tr.Time, r.Value = t, v\n"},
		},
		pkg: crdtPkg, tests: "TestConcurrentOperationsCommute",
	},
}

// messageFaults are about copies of messages: section 2.3.
var messageFaults = []fault{
	{
		name: "twins-both-shown",
		what: "both results of two concurrent MOVEs of one message are shown (C17)",
		edits: []edit{
			{"crdt/work.go", "if o != nil && o.beats(m) {", "if o != nil && o.beats(m) && false {"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestExhaustive",
	},
	{
		name: "twins-by-arrival",
		what: "of two results of concurrent MOVEs that which arrives first is shown (C17)",
		edits: []edit{
			{"crdt/work.go", "\t\treturn m.SrcTime > o.SrcTime\n", "\t\treturn m.Arrived < o.Arrived\n"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestConcurrentOperationsCommute|TestExhaustive",
	},
	{
		name: "expunge-ignores-copies",
		what: "EXPUNGE removes the shown one of several copies, and the other appears (C17)",
		edits: []edit{
			{"crdt/prepare.go", "\t\tp.Targets = append(p.Targets, at)\n\t\treturn nil\n\t})\n\tif err != nil {\n\t\treturn nil, fmt.Errorf(\"expunge: %w\", err)", "\t\tif slices.Contains(targets, at) {\n\t\t\tp.Targets = append(p.Targets, at)\n\t\t}\n\t\treturn nil\n\t})\n\tif err != nil {\n\t\treturn nil, fmt.Errorf(\"expunge: %w\", err)"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestConvergence",
	},
	{
		name: "loser-stays-away",
		what: "when the shown copy is removed by somebody who knew only that one, the other stays hidden (C17)",
		edits: []edit{
			{"crdt/work.go", "\t\tif err := w.twinsOf(i, m); err != nil {\n\t\t\treturn err\n\t\t}\n\t}\n\treturn w.releaseContent(", "\t}\n\treturn w.releaseContent("},
		},
		pkg: crdtPkg, tests: "TestScripts|TestExhaustive",
	},
	{
		name: "move-forgets-flags",
		what: "MOVE does not take the flags along",
		edits: []edit{
			{"crdt/effect.go", "\t\tfor _, f := range e.State {\n", "\t\tfor _, f := range e.State[:0] {\n"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestExhaustive|TestAppendKeepsWhatItIsGiven",
	},
}

// mailboxFaults are about the list of mailboxes: section 5.
var mailboxFaults = []fault{
	{
		name: "fresh-id-per-create",
		what: "every CREATE makes a record of its own: conflicts at every first login (C16)",
		edits: []edit{
			{"crdt/mailbox_prepare.go", "\tg := uint32(len(n.made[name])) + 1\n", "\tg := uint32(s.Mod) | 1\n"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestExhaustive",
	},
	{
		name: "no-revival",
		what: "CREATE after DELETE makes another record, so that UIDVALIDITY changes (C15)",
		edits: []edit{
			{"crdt/mailbox_prepare.go", "if o := n.owner[name]; o != nil { // dead, or it would be shown", "if o := n.owner[name]; o != nil && o.Live() {"},
		},
		pkg: crdtPkg, tests: "TestScripts",
	},
	{
		name: "uidvalidity-not-raised",
		what: "CREATE and RENAME give a name a UIDVALIDITY below one that it had (C15, N4)",
		edits: []edit{
			{"crdt/name.go", "\tc := used>>20 + 1\n", "\tc := max(used>>20, 1)\n"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestExhaustive|TestConvergence",
	},
	{
		name: "no-touch",
		what: "what gets a name that had a larger UIDVALIDITY elsewhere is not repaired (5: TOUCH, N4)",
		edits: []edit{
			{"crdt/name.go", "if l.Box.Validity() >= used {", "if l.Box.Validity() >= used || used > 0 {"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestExhaustive|TestConvergence",
	},
	{
		name: "delete-takes-unknown",
		what: "DELETE removes presence that it did not observe (A, 3.2)",
		edits: []edit{
			{"crdt/mailbox_effect.go", "return slices.Contains(p.Dots, d) })", "return d.N > 0 || slices.Contains(p.Dots, d) })"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestConcurrentOperationsCommute|TestExhaustive",
	},
	{
		name: "delete-takes-new-messages",
		what: "DELETE removes messages that were added concurrently (3.2)",
		edits: []edit{
			{"crdt/mailbox_effect.go", "\tfor _, t := range p.Tags {\n\t\tif err := w.remove(", "\tall, err := w.State.Tags(p.ID)\n\tif err != nil {\n\t\treturn err\n\t}\n\tfor _, t := range all {\n\t\tif err := w.remove("},
		},
		pkg: crdtPkg, tests: "TestScripts|TestConcurrentOperationsCommute|TestExhaustive",
	},
	{
		name: "rename-by-arrival",
		what: "of two concurrent RENAMEs the one that arrives last wins",
		edits: []edit{
			{"crdt/types.go", "\tif t <= r.Time {\n", "\tif t == r.Time {\n"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestConcurrentOperationsCommute|TestExhaustive",
	},
}

// replicationFaults are about causal, exactly-once delivery and the order of log and sight.
var replicationFaults = []fault{
	{
		name: "applied-twice",
		what: "an operation that comes again is applied again",
		edits: []edit{
			{"crdt/apply.go", "if a.Vector.Has(op.Dot) {", "if a.Vector.Has(op.Dot) && op.Dot.N == 0 {"},
		},
		pkg: crdtPkg, tests: "TestApplyTwice",
	},
	{
		name: "applied-too-early",
		what: "received operations do not wait for those that they depend on",
		edits: []edit{
			{"comm/causal/inbox.go", " && q.entries[0].Deps.LessEqual(staged) {", " {"},
		},
		pkg: causalPkg, tests: "TestScripts|TestRandomSchedules",
	},
	{
		name: "queued-twice",
		what: "an operation that is received again over another link is handed out again",
		edits: []edit{
			{"comm/causal/inbox.go", "\tif n <= tail {\n\t\treturn false, nil\n\t}\n\tif n != tail+1 {", "\tif n > tail+1 {"},
		},
		pkg: causalPkg, tests: "TestScripts|TestRandomSchedules",
	},
	{
		name: "store-applies-twice",
		what: "the mailstore logs and applies an operation again that it has",
		edits: []edit{
			{"mailstore/log.go", "\tcase e.Dot.N <= n:\n\t\treturn true, nil\n", ""},
		},
		pkg: mailstorePkg, tests: "TestApplyIsExactlyOnce",
	},
	{
		name: "seen-before-durable",
		what: "a change is shown and told before it is on the disk: after a crash its UID is given again (C7)",
		edits: []edit{
			{"mailstore/commit.go", "r.store.db.ApplyNoSyncWait(t.batch, pebble.Sync)", "r.store.db.Apply(t.batch, pebble.NoSync)"},
			{"mailstore/conclude.go", "errors.Join(c.batch.SyncWait(), c.batch.Close())", "c.batch.Close()"},
		},
		pkg: mailstorePkg, tests: "TestUIDIsOnDiskBeforeItIsTold|TestCrash",
	},
	{
		name: "vector-apart",
		what: "the vector is written in another batch than the operation, which a crash can separate",
		edits: []edit{
			{"mailstore/commit.go", "\tif err := t.set(t.val); err != nil {\n\t\treturn err\n\t}\n\tr.store.opts.Metrics.batch", "\tkey, val := bytes.Clone(t.key), bytes.Clone(t.val)\n\tc.later = func() { _ = r.store.db.Set(key, val, pebble.NoSync) }\n\tr.store.opts.Metrics.batch"},
			{"mailstore/conclude.go", "\tc.batch = nil\n", "\tc.batch = nil\n\tc.later()\n"},
			{"mailstore/commit.go", "type commit struct {\n", "type commit struct {\n\tlater func()\n"},
			{"mailstore/commit.go", "import (\n", "import (\n\t\"bytes\"\n"},
		},
		pkg: mailstorePkg, tests: "TestUIDIsOnDiskBeforeItIsTold|TestCrash",
	},
}
