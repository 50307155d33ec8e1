// Package figures makes the tables and plots of docs/convergence.md from runs
// of package measure: "make figures" does that. The tables stand between
// markers in the document, beside the figures that the design promised, so
// that numbers and text do not drift apart. The same source gives the same
// bytes.
package figures
