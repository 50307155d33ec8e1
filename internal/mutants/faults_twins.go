package main

const replayTests = "TestScripts|TestReplays$|TestReplaysExhaustive|TestSuperseded|TestAuditFinds"

// twinFaults are about replayed commands: section 2.3, C21.
var twinFaults = []fault{
	{
		name: "replay-forgotten-when-gone",
		what: "only live replays supersede: an expunged one is resurrected by its original (C21)",
		edits: []edit{
			{"crdt/cause.go", "if list[i].Attempt > m.Cause.Attempt && !w.op.Deps.Has(list[i].Tag.Dot()) {",
				"twins, _ := w.State.Twins(key.file())\n\t\tif list[i].Attempt > m.Cause.Attempt && len(twins) > 0 && !w.op.Deps.Has(list[i].Tag.Dot()) {"},
		},
		pkg: crdtPkg, tests: replayTests,
	},
	{
		name: "original-stays",
		what: "a replay does not remove an original that came before it: the order decides (C21)",
		edits: []edit{
			{"crdt/cause.go", "\t\tif err := w.remove(t); err != nil {\n\t\t\treturn err\n\t\t}\n", ""},
		},
		pkg: crdtPkg, tests: replayTests,
	},
	{
		name: "replay-supersedes-what-it-knew",
		what: "a replay removes what it depends on, unless that was forgotten: forgetting is seen",
		edits: []edit{
			{"crdt/cause.go", "if w.op.Deps.Has(t.Tag.Dot()) || t.Tag.Dot() == r.Tag.Dot() {", "if t.Tag.Dot() == r.Tag.Dot() {"},
		},
		pkg: crdtPkg, tests: replayTests,
	},
	{
		name: "forgotten-at-once",
		what: "replays and causes are dropped before they are causally stable",
		edits: []edit{
			{"crdt/forget.go", "if !stable.Has(r.Tag.Dot()) {", "if r.Tag.N == 0 {"},
		},
		pkg: crdtPkg, tests: replayTests,
	},
	{
		name: "causes-by-place-only",
		what: "a replayed COPY that finds fewer messages removes others than those it adds",
		edits: []edit{
			{"crdt/cause.go", "func (op *Op) copies(p *Append) bool { return !p.NewBody && !op.Cause.IsZero() }", "func (op *Op) copies(*Append) bool { return false }"},
		},
		pkg: crdtPkg, tests: replayTests,
	},
	{
		name: "merged-by-effect",
		what: "a replay takes over the flags of the original that it finds: whether that was there decides",
		edits: []edit{
			{"crdt/cause.go", "\t\tif at != (Instance{}) {\n", "\t\tif at != (Instance{}) {\n\t\t\tm.mergeFlags(o)\n"},
		},
		pkg: crdtPkg, tests: replayTests,
	},
	{
		name: "content-of-the-wrong-removal",
		what: "the content of a superseded original waits for the original, not for the replay, to be stable: a MOVE arrives without body",
		edits: []edit{
			{"crdt/cause.go", "w.State.Release(m.Root, by.Tag.Dot())", "w.State.Release(m.Root, w.op.Dot)"},
		},
		pkg: crdtPkg, tests: replayTests,
	},
	{
		name: "earlier-attempt-late",
		what: "a replica executes an attempt although it knows of a later one",
		edits: []edit{
			{"crdt/cause.go", "\t\t\tif r.Attempt > m.Cause.Attempt {", "\t\t\tif r.Attempt > m.Cause.Attempt+9 {"},
		},
		pkg: crdtPkg, tests: replayTests,
	},
	{
		name: "forgotten-without-the-absent",
		what: "causes are forgotten although a member that is behind the log's cut may have executed the command",
		edits: []edit{
			{"comm/causal/stable.go", "m.applied(func(*peer) bool { return true })", "m.applied(func(p *peer) bool { return !p.seen.live || m.cut.LessEqual(p.seen.newest) })"},
		},
		pkg: simPkg, tests: "TestScripts",
	},
	{
		name: "removal-counted-twice",
		what: "a content is kept for ever of which an operation has removed two instances at two moments",
		edits: []edit{
			{"mailstore/txcontent.go", "if known || r.By == t.op {", "if known || r.Root == r.Root {"},
		},
		pkg: simPkg, tests: "TestScripts",
	},
	{
		name: "late-removal-forgotten",
		what: "a content is kept until the next start that a settled operation has removed late",
		edits: []edit{
			{"mailstore/txinstall.go", "\t\ta.r.collector.remind(d)\n", "\t\t_ = d\n"},
		},
		pkg: simPkg, tests: "TestScripts",
	},
}
