package main

// loadFaults are about snapshots: section 6.3.
var loadFaults = []fault{
	{
		name: "load-shows-vanished",
		what: "the snapshot's list of what vanished is taken as it is (C11)",
		edits: []edit{
			{"crdt/load.go", "if shown(u) {", "if shown(u) && false {"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestLoadConverges|TestLoadSubnet",
	},
	{
		name: "load-resurrects",
		what: "an instance that only the snapshot has is added although it was removed here",
		edits: []edit{
			{"crdt/load.go", "if w.load.Ours.Has(in.Tag.Dot()) {", "if w.load.Ours.Has(in.Tag.Dot()) && false {"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestLoadConverges|TestLoadSubnet",
	},
	{
		name: "load-forgets-uids",
		what: "UIDs that a message got at the source after it was removed here are not reported as vanished",
		edits: []edit{
			{"crdt/load.go", "return w.vanishAll(b, in) //", "return nil //"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestLoadConverges|TestLoadSubnet",
	},
	{
		name: "load-interrupted",
		what: "an operation of a peer comes between the parts of a merge",
		edits: []edit{
			{"mailstore/log.go", "if a.loading != nil && !a.rec.Vector.Has(e.Dot) {", "if false {"},
		},
		pkg: mailstorePkg, tests: "TestLoadReturning|TestLoadAndOperations|TestLoadCrash",
	},
	{
		name: "load-dependencies",
		what: "what is prepared during a load does not depend on what the snapshot has",
		edits: []edit{
			{"mailstore/commit.go", "\t\top.Deps.Merge(known.Vector)\n", ""},
		},
		pkg: mailstorePkg, tests: "TestLoadReturning|TestLoadAndOperations|TestLoadCrash",
	},
	{
		name: "load-loses-news",
		what: "an instance that the snapshot does not have is removed although it may be new to it",
		edits: []edit{
			{"crdt/load.go", "if !l.Theirs.Has(t.Dot()) {", "if !l.Theirs.Has(t.Dot()) && false {"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestLoadConverges|TestLoadSubnet",
	},
	{
		name: "load-forgets-vector",
		what: "the account's vector does not rise with what was loaded",
		edits: []edit{
			{"crdt/load.go", "\ta.Vector.Merge(snap.Vector)\n", ""},
		},
		pkg: crdtPkg, tests: "TestScripts|TestLoadConverges|TestLoadSubnet",
	},
	{
		name: "load-no-twins",
		what: "twins are not decided upon again after a load (C19)",
		edits: []edit{
			{"crdt/load.go", "if err := w.finish(); err != nil {", "w.again = nil\n\tif err := w.finish(); err != nil {"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestLoadConverges|TestLoadSubnet",
	},
	{
		name: "load-one-remover",
		what: "a content that a snapshot removes waits for one of the operations that may have removed it",
		edits: []edit{
			{"crdt/load.go", "\treturn out\n}\n\n// LoadAccount", "\treturn out[:min(len(out), 1)]\n}\n\n// LoadAccount"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestLoadConverges|TestLoadSubnet",
	},
	{
		name: "load-partial-checkpoint",
		what: "the vector of an operation made during a load is taken for its replica's",
		edits: []edit{
			{"crdt/checkpoint.go", "if h.Partial {", "if h.Partial && false {"},
		},
		pkg: crdtPkg, tests: "TestPartialCheckpoint",
	},
	{
		name: "load-without-annotations",
		what: "a member that loads a snapshot lacks the annotations in it",
		edits: []edit{
			{"crdt/load.go", "w.loadNotes(snap.Notes)", "w.loadNotes(nil)"},
		},
		pkg: crdtPkg, tests: "TestLoadConverges|TestLoadSubnet",
	},
}
