//! Where the custom resources of well-known projects have their pod specs and images.
//!
//! Each place is one of the project's own types, and is tried in `preset/tests.rs` on objects of the shape that the
//! project publishes. Images that a controller makes up by itself are in no custom resource, and so not here: they are
//! seen in the Pods.

use std::fmt;
use std::str::FromStr;

/// The custom resources of one project.
#[derive(Debug, PartialEq, Eq)]
pub struct Preset {
    /// What it is called in the settings.
    pub name: &'static str,
    /// Its kinds.
    pub resources: &'static [PresetResource],
}

/// One kind of custom resource.
#[derive(Debug, PartialEq, Eq)]
pub struct PresetResource {
    /// The API group.
    pub group: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// The plural, by which webhooks and `kubectl` know it.
    pub plural: &'static str,
    /// JSON pointers to its pod specs.
    pub pod_specs: &'static [&'static str],
    /// JSON pointers to its other images.
    pub images: &'static [&'static str],
}

/// There is no preset of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownPreset;

impl fmt::Display for UnknownPreset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no such preset; those are ")?;
        PRESETS.iter().enumerate().try_for_each(|(index, preset)| {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}", preset.name)
        })
    }
}

impl std::error::Error for UnknownPreset {}

impl FromStr for &'static Preset {
    type Err = UnknownPreset;

    fn from_str(text: &str) -> Result<Self, UnknownPreset> {
        PRESETS.iter().find(|preset| preset.name == text).ok_or(UnknownPreset)
    }
}

const fn resource(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    pod_specs: &'static [&'static str],
    images: &'static [&'static str],
) -> PresetResource {
    PresetResource { group, kind, plural, pod_specs, images }
}

const TEMPLATE: &[&str] = &["/spec/template/spec"];
const SPEC_IMAGE: &[&str] = &["/spec/image"];
const NONE: &[&str] = &[];

const ARGO: &str = "argoproj.io";
const WORKFLOW: &[&str] = &[
    "/spec/templates/*/container/image",
    "/spec/templates/*/script/image",
    "/spec/templates/*/initContainers/*/image",
    "/spec/templates/*/sidecars/*/image",
    "/spec/templates/*/containerSet/containers/*/image",
    "/spec/templates/*/steps/*/*/inline/container/image",
    "/spec/templates/*/steps/*/*/inline/script/image",
    "/spec/templates/*/dag/tasks/*/inline/container/image",
    "/spec/templates/*/dag/tasks/*/inline/script/image",
    "/spec/templateDefaults/container/image",
    "/spec/templateDefaults/script/image",
];
const CRON_WORKFLOW: &[&str] = &[
    "/spec/workflowSpec/templates/*/container/image",
    "/spec/workflowSpec/templates/*/script/image",
    "/spec/workflowSpec/templates/*/initContainers/*/image",
    "/spec/workflowSpec/templates/*/sidecars/*/image",
    "/spec/workflowSpec/templates/*/containerSet/containers/*/image",
    "/spec/workflowSpec/templates/*/steps/*/*/inline/container/image",
    "/spec/workflowSpec/templates/*/steps/*/*/inline/script/image",
    "/spec/workflowSpec/templates/*/dag/tasks/*/inline/container/image",
    "/spec/workflowSpec/templates/*/dag/tasks/*/inline/script/image",
    "/spec/workflowSpec/templateDefaults/container/image",
    "/spec/workflowSpec/templateDefaults/script/image",
];
const METRIC_JOBS: &[&str] = &["/spec/metrics/*/provider/job/spec/template/spec"];

const KRUISE: &str = "apps.kruise.io";
const KUBEFLOW: &str = "kubeflow.org";
const TRAINER: &str = "trainer.kubeflow.org";
const TRAINING_RUNTIME: &[&str] = &["/spec/template/spec/replicatedJobs/*/template/spec/template/spec"];
const CNPG: &str = "postgresql.cnpg.io";
const CATALOG: &[&str] =
    &["/spec/images/*/image", "/spec/images/*/extensions/*/image/reference", "/spec/extraImages/*/image"];
const STRIMZI: &str = "kafka.strimzi.io";
const SPARK: &str = "sparkoperator.k8s.io";
const SPARK_APACHE: &str = "spark.apache.org";
const SPARK_CONF: &[&str] = &[
    "/spec/sparkConf/spark.kubernetes.container.image",
    "/spec/sparkConf/spark.kubernetes.driver.container.image",
    "/spec/sparkConf/spark.kubernetes.executor.container.image",
];
const FLINK: &str = "flink.apache.org";
const TEKTON: &str = "tekton.dev";
const KUBEVIRT: &str = "kubevirt.io";
const VM: &[&str] = &[
    "/spec/template/spec/volumes/*/containerDisk/image",
    "/spec/template/spec/domain/firmware/kernelBoot/container/image",
];
const RAY: &str = "ray.io";

/// All presets, in the order of the documentation.
pub static PRESETS: [Preset; 14] = [
    Preset {
        name: "argo-workflows",
        resources: &[
            resource(ARGO, "Workflow", "workflows", NONE, WORKFLOW),
            resource(ARGO, "CronWorkflow", "cronworkflows", NONE, CRON_WORKFLOW),
            resource(ARGO, "WorkflowTemplate", "workflowtemplates", NONE, WORKFLOW),
            resource(ARGO, "ClusterWorkflowTemplate", "clusterworkflowtemplates", NONE, WORKFLOW),
        ],
    },
    Preset {
        name: "argo-rollouts",
        resources: &[
            resource(ARGO, "Rollout", "rollouts", TEMPLATE, NONE),
            resource(ARGO, "Experiment", "experiments", &["/spec/templates/*/template/spec"], NONE),
            resource(ARGO, "AnalysisTemplate", "analysistemplates", METRIC_JOBS, NONE),
            resource(ARGO, "ClusterAnalysisTemplate", "clusteranalysistemplates", METRIC_JOBS, NONE),
        ],
    },
    Preset {
        name: "kruise",
        resources: &[
            resource(KRUISE, "CloneSet", "clonesets", TEMPLATE, NONE),
            resource(KRUISE, "StatefulSet", "statefulsets", TEMPLATE, NONE),
            resource(KRUISE, "DaemonSet", "daemonsets", TEMPLATE, NONE),
            resource(KRUISE, "BroadcastJob", "broadcastjobs", TEMPLATE, NONE),
            resource(
                KRUISE,
                "AdvancedCronJob",
                "advancedcronjobs",
                &[
                    "/spec/template/jobTemplate/spec/template/spec",
                    "/spec/template/broadcastJobTemplate/spec/template/spec",
                ],
                NONE,
            ),
            // The four templates of which it has one.
            resource(KRUISE, "UnitedDeployment", "uniteddeployments", &["/spec/template/*/spec/template/spec"], NONE),
            resource(KRUISE, "SidecarSet", "sidecarsets", &["/spec"], NONE),
            resource(KRUISE, "ImagePullJob", "imagepulljobs", NONE, SPEC_IMAGE),
            resource(KRUISE, "ImageListPullJob", "imagelistpulljobs", NONE, &["/spec/images/*"]),
        ],
    },
    Preset {
        name: "knative",
        resources: &[
            resource("serving.knative.dev", "Service", "services", TEMPLATE, NONE),
            resource("serving.knative.dev", "Configuration", "configurations", TEMPLATE, NONE),
            resource("serving.knative.dev", "Revision", "revisions", &["/spec"], NONE),
        ],
    },
    Preset {
        name: "kubeflow",
        resources: &[
            resource(KUBEFLOW, "PyTorchJob", "pytorchjobs", &["/spec/pytorchReplicaSpecs/*/template/spec"], NONE),
            resource(KUBEFLOW, "TFJob", "tfjobs", &["/spec/tfReplicaSpecs/*/template/spec"], NONE),
            resource(KUBEFLOW, "MPIJob", "mpijobs", &["/spec/mpiReplicaSpecs/*/template/spec"], NONE),
            resource(KUBEFLOW, "XGBoostJob", "xgboostjobs", &["/spec/xgbReplicaSpecs/*/template/spec"], NONE),
            resource(KUBEFLOW, "PaddleJob", "paddlejobs", &["/spec/paddleReplicaSpecs/*/template/spec"], NONE),
            resource(KUBEFLOW, "JAXJob", "jaxjobs", &["/spec/jaxReplicaSpecs/*/template/spec"], NONE),
            resource(KUBEFLOW, "Notebook", "notebooks", TEMPLATE, NONE),
            resource(TRAINER, "TrainJob", "trainjobs", NONE, &["/spec/trainer/image", "/spec/initializer/*/image"]),
            resource(TRAINER, "TrainingRuntime", "trainingruntimes", TRAINING_RUNTIME, NONE),
            resource(TRAINER, "ClusterTrainingRuntime", "clustertrainingruntimes", TRAINING_RUNTIME, NONE),
        ],
    },
    Preset {
        name: "cloudnative-pg",
        resources: &[
            resource(
                CNPG,
                "Cluster",
                "clusters",
                NONE,
                &["/spec/imageName", "/spec/postgresql/extensions/*/image/reference"],
            ),
            resource(CNPG, "Pooler", "poolers", TEMPLATE, NONE),
            resource(CNPG, "ImageCatalog", "imagecatalogs", NONE, CATALOG),
            resource(CNPG, "ClusterImageCatalog", "clusterimagecatalogs", NONE, CATALOG),
        ],
    },
    Preset {
        name: "strimzi",
        resources: &[
            resource(
                STRIMZI,
                "Kafka",
                "kafkas",
                NONE,
                &[
                    "/spec/kafka/image",
                    "/spec/zookeeper/image",
                    "/spec/entityOperator/*/image",
                    "/spec/cruiseControl/image",
                    "/spec/kafkaExporter/image",
                ],
            ),
            resource(STRIMZI, "KafkaConnect", "kafkaconnects", NONE, SPEC_IMAGE),
            resource(STRIMZI, "KafkaMirrorMaker2", "kafkamirrormaker2s", NONE, SPEC_IMAGE),
            resource(STRIMZI, "KafkaBridge", "kafkabridges", NONE, SPEC_IMAGE),
            resource("core.strimzi.io", "StrimziPodSet", "strimzipodsets", &["/spec/pods/*/spec"], NONE),
        ],
    },
    Preset {
        name: "spark",
        resources: &[
            resource(
                SPARK,
                "SparkApplication",
                "sparkapplications",
                &["/spec/driver/template/spec", "/spec/executor/template/spec"],
                &["/spec/image", "/spec/*/image", "/spec/*/initContainers/*/image", "/spec/*/sidecars/*/image"],
            ),
            resource(
                SPARK,
                "ScheduledSparkApplication",
                "scheduledsparkapplications",
                &["/spec/template/driver/template/spec", "/spec/template/executor/template/spec"],
                &[
                    "/spec/template/image",
                    "/spec/template/*/image",
                    "/spec/template/*/initContainers/*/image",
                    "/spec/template/*/sidecars/*/image",
                ],
            ),
            resource(
                SPARK,
                "SparkConnect",
                "sparkconnects",
                &["/spec/server/template/spec", "/spec/executor/template/spec"],
                SPEC_IMAGE,
            ),
            resource(SPARK_APACHE, "SparkApplication", "sparkapplications", NONE, SPARK_CONF),
            resource(SPARK_APACHE, "SparkCluster", "sparkclusters", NONE, SPARK_CONF),
        ],
    },
    Preset {
        name: "flink",
        resources: &[
            resource(
                FLINK,
                "FlinkDeployment",
                "flinkdeployments",
                &["/spec/podTemplate/spec", "/spec/jobManager/podTemplate/spec", "/spec/taskManager/podTemplate/spec"],
                SPEC_IMAGE,
            ),
            resource(
                FLINK,
                "FlinkBlueGreenDeployment",
                "flinkbluegreendeployments",
                &[
                    "/spec/template/spec/podTemplate/spec",
                    "/spec/template/spec/jobManager/podTemplate/spec",
                    "/spec/template/spec/taskManager/podTemplate/spec",
                ],
                &["/spec/template/spec/image"],
            ),
        ],
    },
    Preset {
        name: "keda",
        resources: &[resource("keda.sh", "ScaledJob", "scaledjobs", &["/spec/jobTargetRef/template/spec"], NONE)],
    },
    Preset {
        name: "tekton",
        resources: &[
            resource(
                TEKTON,
                "Task",
                "tasks",
                NONE,
                &["/spec/steps/*/image", "/spec/sidecars/*/image", "/spec/stepTemplate/image"],
            ),
            resource(
                TEKTON,
                "TaskRun",
                "taskruns",
                NONE,
                &[
                    "/spec/taskSpec/steps/*/image",
                    "/spec/taskSpec/sidecars/*/image",
                    "/spec/taskSpec/stepTemplate/image",
                ],
            ),
            resource(
                TEKTON,
                "Pipeline",
                "pipelines",
                NONE,
                &[
                    "/spec/tasks/*/taskSpec/steps/*/image",
                    "/spec/tasks/*/taskSpec/sidecars/*/image",
                    "/spec/tasks/*/taskSpec/stepTemplate/image",
                    "/spec/finally/*/taskSpec/steps/*/image",
                    "/spec/finally/*/taskSpec/sidecars/*/image",
                    "/spec/finally/*/taskSpec/stepTemplate/image",
                ],
            ),
            resource(
                TEKTON,
                "PipelineRun",
                "pipelineruns",
                NONE,
                &[
                    "/spec/pipelineSpec/tasks/*/taskSpec/steps/*/image",
                    "/spec/pipelineSpec/tasks/*/taskSpec/sidecars/*/image",
                    "/spec/pipelineSpec/tasks/*/taskSpec/stepTemplate/image",
                    "/spec/pipelineSpec/finally/*/taskSpec/steps/*/image",
                    "/spec/pipelineSpec/finally/*/taskSpec/sidecars/*/image",
                    "/spec/pipelineSpec/finally/*/taskSpec/stepTemplate/image",
                ],
            ),
            resource(TEKTON, "StepAction", "stepactions", NONE, SPEC_IMAGE),
        ],
    },
    Preset {
        name: "kubevirt",
        resources: &[
            resource(KUBEVIRT, "VirtualMachine", "virtualmachines", NONE, VM),
            resource(
                KUBEVIRT,
                "VirtualMachineInstance",
                "virtualmachineinstances",
                NONE,
                &["/spec/volumes/*/containerDisk/image", "/spec/domain/firmware/kernelBoot/container/image"],
            ),
            resource(KUBEVIRT, "VirtualMachineInstanceReplicaSet", "virtualmachineinstancereplicasets", NONE, VM),
            resource(
                "pool.kubevirt.io",
                "VirtualMachinePool",
                "virtualmachinepools",
                NONE,
                &[
                    "/spec/virtualMachineTemplate/spec/template/spec/volumes/*/containerDisk/image",
                    "/spec/virtualMachineTemplate/spec/template/spec/domain/firmware/kernelBoot/container/image",
                ],
            ),
        ],
    },
    Preset {
        name: "jobset",
        resources: &[resource(
            "jobset.x-k8s.io",
            "JobSet",
            "jobsets",
            &["/spec/replicatedJobs/*/template/spec/template/spec"],
            NONE,
        )],
    },
    Preset {
        name: "ray",
        resources: &[
            resource(
                RAY,
                "RayCluster",
                "rayclusters",
                &["/spec/headGroupSpec/template/spec", "/spec/workerGroupSpecs/*/template/spec"],
                NONE,
            ),
            resource(
                RAY,
                "RayJob",
                "rayjobs",
                &[
                    "/spec/rayClusterSpec/headGroupSpec/template/spec",
                    "/spec/rayClusterSpec/workerGroupSpecs/*/template/spec",
                    "/spec/submitterPodTemplate/spec",
                ],
                NONE,
            ),
            resource(
                RAY,
                "RayService",
                "rayservices",
                &[
                    "/spec/rayClusterConfig/headGroupSpec/template/spec",
                    "/spec/rayClusterConfig/workerGroupSpecs/*/template/spec",
                ],
                NONE,
            ),
        ],
    },
];

#[cfg(test)]
mod tests;
