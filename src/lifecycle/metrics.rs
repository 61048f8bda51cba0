//! A part's metrics, written as a table.

/// A struct of handles on metrics, cheap to clone, with a `new` that registers them. A field's doc comment is its metric's help;
/// labels stand behind its type, a histogram's buckets behind its metric's name. Fields at the end that have no comment are no
/// metrics, and begin with their type's default.
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
            /// Registers them.
            ///
            /// # Errors
            /// When the registry has one of these names already.
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
