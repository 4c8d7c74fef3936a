//go:build tools

// Package crds names the types from which scripts/check-chart.sh has controller-gen write the schemas of the custom
// resources that the chart renders. Nothing of it is ever built.
package crds

import (
	_ "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	_ "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
)
