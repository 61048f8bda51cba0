//! The macro with which a part declares its metrics as a table.

/// Makes a struct of handles on metrics, with a `new` that registers them. Clones are cheap. A field's doc comment is the
/// metric's help text. Labels follow the field's type; a histogram's buckets follow the metric's name. Fields without a
/// comment at the end are no metrics, and start with their type's default.
macro_rules! metrics {
    ($(#[$attribute:meta])* $seen:vis struct $name:ident {
        $(
            $(#[doc = $help:literal])+
            $metric_seen:vis $field:ident: $kind:ident $([$($label:literal),+])? = $metric:literal $(, $buckets:expr)?;
        )+
        $($other_seen:vis $other:ident: $type:ty;)*
    }) => {
        $(#[$attribute])*
        #[derive(Clone)]
        $seen struct $name {
            $($(#[doc = $help])+ $metric_seen $field: $kind,)+
            $($other_seen $other: $type,)*
        }

        impl $name {
            /// Registers the metrics.
            ///
            /// # Errors
            /// If the registry has one of these names already.
            pub fn new(registry: &prometheus::Registry) -> prometheus::Result<$name> {
                $(
                    let options = prometheus::Opts::new($metric, concat!($($help),+).trim_start());
                    $(let options = prometheus::HistogramOpts::from(options).buckets($buckets?);)?
                    let $field = crate::lifecycle::metrics!(@ $kind, options $(, &[$($label),+])?)?;
                    registry.register(Box::new($field.clone()))?;
                )+
                Ok($name { $($field,)+ $($other: <$type>::default(),)* })
            }
        }
    };
    (@ $kind:ident, $options:ident) => { $kind::with_opts($options) };
    (@ $kind:ident, $options:ident, $labels:expr) => { $kind::new($options, $labels) };
}

pub(crate) use metrics;
