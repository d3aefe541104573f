package main

import (
	"fmt"
	"strings"
)

// tolerance is by how much a ratio may be worse, whatever the spread of both: machines and their neighbours aren't the same twice.
const tolerance = 0.9

// worsening is a contender that was better once, compared with OpenSSH in the same run.
type worsening struct {
	measurement string // that tells
	text        string
}

// worse are those of ours whose ratio is less than it was, beyond the noise: each round is worse than each was then, and the median by more than a
// tenth. Rows and contenders that are not in both reports are passed over.
func (r report) worse(now report) (all []worsening) {
	for _, was := range r.Results {
		is, ok := now.result(was.ID)
		if !ok {
			continue
		}
		for _, then := range was.Cells {
			c, ok := is.cell(then.Contender)
			if !ok || !strings.Contains(then.Contender, "culvert") || then.Ratio == 0 || c.Ratio == 0 {
				continue
			}
			if c.RatioTo < then.RatioFrom && c.Ratio < tolerance*then.Ratio {
				all = append(all, worsening{is.Measurement, fmt.Sprintf("%s, %s: × %.2f (%.2f to %.2f), was × %.2f (%.2f to %.2f)",
					was.Name, c.Contender, c.Ratio, c.RatioFrom, c.RatioTo, then.Ratio, then.RatioFrom, then.RatioTo)})
			}
		}
	}
	return all
}

func lines(all []worsening) string {
	var b strings.Builder
	for _, w := range all {
		fmt.Fprintf(&b, "  %s\n", w.text)
	}
	return b.String()
}
