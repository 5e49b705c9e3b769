// An OpenTelemetry Collector of what the tests need: OTLP in, files out. And, as `collector prometheus-names`, the names
// that metrics get in Prometheus, by the library of the Collector's and Prometheus' own translation.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/open-telemetry/opentelemetry-collector-contrib/exporter/fileexporter"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
)

func components() (otelcol.Factories, error) {
	receivers, err := otelcol.MakeFactoryMap[receiver.Factory](otlpreceiver.NewFactory())
	if err != nil {
		return otelcol.Factories{}, err
	}
	exporters, err := otelcol.MakeFactoryMap[exporter.Factory](fileexporter.NewFactory())
	if err != nil {
		return otelcol.Factories{}, err
	}
	return otelcol.Factories{
		Receivers: receivers,
		Exporters: exporters,
		Telemetry: otelconftelemetry.NewFactory(),
	}, nil
}

// Reads name, unit and type of a metric from each line, separated by tabs, and prints its name in Prometheus.
func prometheusNames() error {
	types := map[string]otlptranslator.MetricType{
		"counter":   otlptranslator.MetricTypeMonotonicCounter,
		"updown":    otlptranslator.MetricTypeNonMonotonicCounter,
		"gauge":     otlptranslator.MetricTypeGauge,
		"histogram": otlptranslator.MetricTypeHistogram,
	}
	namer := otlptranslator.MetricNamer{WithMetricSuffixes: true}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\t")
		if len(fields) != 3 {
			return fmt.Errorf("not three fields: %q", lines.Text())
		}
		name, err := namer.Build(otlptranslator.Metric{Name: fields[0], Unit: fields[1], Type: types[fields[2]]})
		if err != nil {
			return err
		}
		fmt.Println(name)
	}
	return lines.Err()
}

func run() error {
	if len(os.Args) == 2 && os.Args[1] == "prometheus-names" {
		return prometheusNames()
	}
	providers := []confmap.ProviderFactory{fileprovider.NewFactory()}
	return otelcol.NewCommand(otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{Command: "collector", Description: "for tests"},
		Factories: components,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{
			ResolverSettings: confmap.ResolverSettings{ProviderFactories: providers, DefaultScheme: "file"},
		},
	}).Execute()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
