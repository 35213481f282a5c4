use super::*;
use crate::sys::testing::{in_network_namespace, with_devices};

#[test]
fn terms_are_found_and_the_model_is_made_of_them() {
    with_devices(|| {
        let never = || false;
        let roofline = run(UnderlayKind::Nic, &never).unwrap();
        for (name, cost) in roofline.terms.list() {
            assert!(cost.best_ns > 1.0 && cost.best_ns <= cost.median_ns, "{name}: {cost:?}");
        }
        assert_eq!(roofline.limits.len(), 7);
        for limit in &roofline.limits {
            assert!(limit.woken_gbit > 0.0 && limit.woken_gbit < limit.gbit, "{limit:?}");
        }
    });
}

#[test]
fn user_ends_it_at_once() {
    in_network_namespace(|| {
        let at_once = || true;
        match run(UnderlayKind::Veth, &at_once) {
            Err(BenchError::Step { source, .. }) => {
                assert_eq!(source.kind(), io::ErrorKind::Interrupted);
            }
            other => panic!("{other:?}"),
        }
    });
}
